"""Tier 2: the real detector without a language model. What ODR, MAL and BVLA-M do to boxes and
alignment in few steps (../shared/spec/evidence.md, G.3).

Arms are paired: the same scenes, batches and seed. Names are judged by the last layer's alignment.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from statistics import fmean

from opendet.bench.arms import Part
from opendet.bench.curves import value_at
from opendet.bench.harness import Place, Row, paired
from opendet.bench.trial import Trial
from opendet.bench.trials import Outcome, run_trials

ARMS: dict[str, tuple[Part, ...]] = {
    "base": (),
    "ODR": ("ODR",),
    "ODR + MAL": ("ODR", "MAL"),
    "ODR + MAL + BVLA-M": ("ODR", "MAL", "BVLA-M"),
}
SEEDS = (0, 1, 2)
MILESTONES = (150, 300, 600)
HALF, END = MILESTONES[1], MILESTONES[2]

Outcomes = Mapping[str, Sequence[Outcome]]
"""Arm -> the outcomes of the seeds, in their order."""


def localisation(place: Place) -> Iterator[Row]:
    """The curves, then the gates, where all seeds of the arms are there."""
    trials = {
        (seed, name): Trial(ARMS[name], seed, MILESTONES, naming=False)
        for seed, name in product(SEEDS, ARMS)
    }
    outcomes = run_trials(list(trials.values()), place)
    done = {
        name: [
            outcomes[trial]
            for (_, own), trial in trials.items()
            if own == name and trial in outcomes
        ]
        for name in ARMS
    }
    yield from curve_rows(done)
    yield from gates(done)


def curve_rows(outcomes: Outcomes) -> Iterator[Row]:
    """The mean over the seeds at each milestone, each seed's value beside it."""
    for name, own in outcomes.items():
        if not own:
            continue
        for step in MILESTONES:
            yield _mean_row(f"AP75 agnostic, {name}, step {step}", own, "agnostic_ap75", step)
        yield _mean_row(f"AP(.5,.75) with names, {name}", own, "ap", END)
        for tier in ("frequent", "rare", "unseen"):
            yield _mean_row(f"names right, {tier}, {name}", own, f"right_{tier}", END)
        seconds = fmean(one.last["cpu_seconds"] for one in own)
        yield Row(f"CPU s of training, {name}", seconds, detail=f"{own[0].parameters} parameters")


def gates(outcomes: Outcomes) -> Iterator[Row]:
    """What the paper's parts must bring; each as the mean of paired differences."""
    base, odr, mal, bvla = (outcomes[name] for name in ARMS)
    whole = len(SEEDS)
    if len(base) == len(odr) == whole:
        yield _gate("ODR: AP75 agnostic at half the steps", odr, base, "agnostic_ap75", HALF, 10)
        metric = "ODR: AP75 agnostic at the end"
        yield _gate(metric, odr, base, "agnostic_ap75", END, 0, allowing=True)
        yield _at_equal_time(odr, base)
    if len(odr) == len(mal) == whole:
        yield _gate("MAL: names right, frequent", mal, odr, "right_frequent", END, 12)
        yield _gate("MAL: AP(.5,.75) with names", mal, odr, "ap", END, 3)
        yield _gate("MAL: AP75 agnostic", mal, odr, "agnostic_ap75", END, -3, allowing=True)
    if len(mal) == len(bvla) == whole:
        yield _gate("BVLA-M: AP(.5,.75) with names", bvla, mal, "ap", END)
        yield _gate("BVLA-M: names right, rare", bvla, mal, "right_rare", END)


def _gate(
    metric: str,
    arm: Sequence[Outcome],
    other: Sequence[Outcome],
    measured: str,
    step: int,
    goal: float | None = None,
    *,
    allowing: bool = False,
) -> Row:
    return paired(
        metric,
        [one.at(step)[measured] for one in arm],
        [one.at(step)[measured] for one in other],
        goal,
        allowing=allowing,
    )


def _at_equal_time(arm: Sequence[Outcome], other: Sequence[Outcome]) -> Row:
    """One-to-many layers have more gradient at each step, and cost more: the same, in time."""
    return paired(
        "ODR: the same at equal CPU time",
        [one.at(HALF)["agnostic_ap75"] for one in arm],
        [
            value_at(_by_time(two), one.at(HALF)["cpu_seconds"])
            for one, two in zip(arm, other, strict=True)
        ],
    )


def _by_time(outcome: Outcome) -> list[tuple[float, float]]:
    return [(point["cpu_seconds"], point["agnostic_ap75"]) for point in outcome.curve]


def _mean_row(metric: str, outcomes: Sequence[Outcome], measured: str, step: int) -> Row:
    values = [one.at(step)[measured] for one in outcomes]
    return Row(metric, fmean(values), detail=f"seeds: {', '.join(f'{v:.1f}' for v in values)}")
