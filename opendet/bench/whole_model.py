"""Tier 3: the whole model, from picture to name. All parts against none of them, each part left
out, and how many steps it takes to be as good as the baseline is in the end.

See ../shared/spec/evidence.md, G.3. Names are what the language model writes, greedily, in every
arm. `AP` is the mean of AP50 and AP75 over the 64 names.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from opendet.bench.arms import PAPERS, PARTS, Part
from opendet.bench.curves import Line, draw_lines, first_reaching, mean_line
from opendet.bench.harness import Place, Row, at_least, at_most, paired
from opendet.bench.trial import Trial
from opendet.bench.trials import Outcome, run_trials
from opendet.files import write_durably

SEEDS = (0, 1, 2)
STEPS = 2000
MILESTONES = tuple(
    STEPS * percent // 100 for percent in (5, 10, 15, 20, 25, 30, 35, 40, 50, 60, 80, 100)
)
ENDS = (STEPS // 2, STEPS)
"""Where a part that is left out is judged."""
PICTURE = "training_efficiency.svg"
"""Beside the record."""

GROUPS = {"": "all names", "_frequent": "frequent", "_rare": "rare", "_unseen": "unseen"}


def whole_model(place: Place) -> Iterator[Row]:
    """The gates that all runs are there for; a seed's pair before what needs one seed alone.

    All parts are the paper's six and ours, the vocabulary; the six alone stand beside them.
    """
    full = [Trial(PARTS, seed, MILESTONES) for seed in SEEDS]
    base = [Trial((), seed, MILESTONES) for seed in SEEDS]
    papers = [Trial(PAPERS, seed, MILESTONES) for seed in SEEDS]
    without = {
        part: Trial(tuple(one for one in PARTS if one != part), SEEDS[0], ENDS) for part in PAPERS
    }
    linear = Trial(without["VLD-M"].parts, SEEDS[0], ENDS, distilled=True)
    pairs = [trial for pair in zip(full, base, strict=True) for trial in pair]
    done = run_trials([*pairs, papers[0], *without.values(), linear, *papers[1:]], place)
    for name, arm, docs in (("six + vocabulary", full, place.docs), ("six", papers, None)):
        both = [(done[f], done[b]) for f, b in zip(arm, base, strict=True) if {f, b} <= done.keys()]
        if both:
            yield from comparison(name, [f for f, _ in both], [b for _, b in both])
            yield from efficiency(name, [f for f, _ in both], [b for _, b in both], docs)
    if full[0] in done:
        removed = {**without, "vocabulary": papers[0]}
        kept = {part: done[trial] for part, trial in removed.items() if trial in done}
        yield from removals(done[full[0]], kept)
        if linear in done:
            yield from distilling(done[full[0]], done[linear])


def comparison(name: str, arm: Sequence[Outcome], base: Sequence[Outcome]) -> Iterator[Row]:
    """An arm against all off at the end, seed by seed."""
    goals = {"": 5.0, "_unseen": 3.0}
    for group, title in GROUPS.items():
        metric = f"{name} - all off: AP, {title}"
        yield _against(metric, arm, base, f"ap{group}", goals.get(group))
    yield _against(f"{name} - all off: AP75 agnostic", arm, base, "agnostic_ap75")
    yield _against(f"{name} - all off: cosine of prompt and text", arm, base, "cosine")
    time = fmean(
        f.last["cpu_seconds"] / b.last["cpu_seconds"] for f, b in zip(arm, base, strict=True)
    )
    yield Row(f"CPU time of a step, {name} / all off", time)


def _against(
    metric: str,
    arm: Sequence[Outcome],
    other: Sequence[Outcome],
    measured: str,
    goal: float | None = None,
) -> Row:
    return paired(
        metric,
        [one.last[measured] for one in arm],
        [one.last[measured] for one in other],
        goal,
    )


def efficiency(
    name: str, arm: Sequence[Outcome], base: Sequence[Outcome], docs: Path | None
) -> Iterator[Row]:
    """How soon an arm is as good as all off is in the end, as a share of its steps and of its time.

    With `docs`, both curves are drawn there.
    """
    shares, times = (_shares(arm, base, along) for along in ("step", "cpu_seconds"))
    metric = f"{name}: share of all off's steps to its final AP"
    detail = f"seeds: {_listed(shares)}; the paper's epochs: 0.208; [curve]({PICTURE})"
    yield at_most(metric, fmean(shares), 0.35, detail)
    metric = f"{name}: share of all off's CPU time to its final AP"
    yield Row(metric, fmean(times), detail=f"seeds: {_listed(times)}")
    if docs:
        lines = {name: mean_line([_line(o) for o in arm])}
        lines["all off"] = mean_line([_line(o) for o in base])
        title = f"AP (mean of AP50 and AP75), mean of {len(arm)} seeds; dashed: all off in the end"
        drawn = draw_lines(lines, title=title, x_name="steps", level=lines["all off"][-1][1])
        write_durably(docs / PICTURE, drawn.encode())


def _shares(arm: Sequence[Outcome], base: Sequence[Outcome], along: str) -> list[float]:
    return [
        (first_reaching(_line(f, along), b.last["ap"]) or math.inf) / b.last[along]
        for f, b in zip(arm, base, strict=True)
    ]


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


def removals(full: Outcome, without: Mapping[Part, Outcome]) -> Iterator[Row]:
    """What each part brings to the others: all on less all but it, one seed."""
    for part, own in without.items():
        for group, title in GROUPS.items():
            value = full.last[f"ap{group}"] - own.last[f"ap{group}"]
            detail = f"{full.last[f'ap{group}']:.1f} against {own.last[f'ap{group}']:.1f}"
            metric = f"all on - without {part}: AP, {title}"
            yield (
                Row(metric, value, detail=detail) if group else at_least(metric, value, -3, detail)
            )


def distilling(full: Outcome, linear: Outcome) -> Iterator[Row]:
    """VLD-M against a linear projection with the same loss, and against features of another image:
    whether the context is used."""
    metric = "cosine of prompt and text: VLD-M - linear projection"
    for step in ENDS:
        pair = [one.at(step)["cosine"] for one in (full, linear)]
        detail = f"{pair[0]:.3f} against {pair[1]:.3f}, step {step}"
        yield at_least(f"{metric}, step {step}", pair[0] - pair[1], 0.03, detail)
    change = full.last["cosine"] - full.last["cosine_out_of_context"]
    yield Row(
        "cosine of prompt and text: lost with B and E of another image", change, "> 0", change > 0
    )


def _line(outcome: Outcome, along: str = "step") -> Line:
    return [(point[along], point["ap"]) for point in outcome.curve]
