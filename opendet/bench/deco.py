"""DeCo-DETR in the small world: what fine prototypes, isolation and the schedule do to names.

Per seed one detector with the isolated heads beside it, paired exactly, and two runs whose one head
shares its gradient. Every arm is taught by the crops of the labelled objects alone, of base
names all of them; the pools also know proposals of other scenes, unseen names among them
(`deco_world`), and the predictor all 64 names as text.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from statistics import fmean
from typing import Any

from opendet.bench.deco_trial import DecoTrial, run_deco
from opendet.bench.harness import Place, Row, paired
from opendet.bench.processes import run_units

SEEDS = (0, 1, 2)
RUNS = (
    ("whole", "coarse", "flat", "constant", "bare", "bare, coarse", "sharp"),
    ("shared",),
    ("shared, cosine",),
)
"""The heads of each run of a seed; isolation is compared where both schedules are constant."""
VERSION = "1"
"""Raise it when kept runs no longer stand beside new ones."""
WAYS = {"list": "64 names", "free": "prototypes' names"}
TIERS = ("frequent", "rare", "unseen")
MOST_HARM = -2.0
"""AP points of base names, or of boxes, that are noise and no harm."""

Results = Mapping[int, Mapping[str, Any]]
"""Seed -> head -> its `list` and `free` scores, and as `aligner` its detector's own."""


def deco(place: Place) -> Iterator[Row]:
    """The arms' scores, then the claims, where all seeds are there."""
    trials = [DecoTrial(heads, seed) for seed, heads in product(SEEDS, RUNS)]
    done = run_units(trials, run_deco, place, version=VERSION)
    results: dict[int, dict[str, Any]] = {}
    for trial, told in done.items():
        own = results.setdefault(trial.seed, {})
        own |= {name: {**ways, "aligner": told["aligner"]} for name, ways in told["heads"].items()}
    for heads in RUNS:
        for name in heads:
            yield from score_rows(name, _of(results, name))
        yield from detector_rows(heads[0], _of(results, heads[0]))
        seconds = [told["cpu_seconds"] for trial, told in done.items() if trial.heads == heads]
        if seconds:
            yield Row(f"CPU s of a run, {' + '.join(heads)}", fmean(seconds))
    if all(len(_of(results, name)) == len(SEEDS) for heads in RUNS for name in heads):
        yield from claims(results)


def score_rows(name: str, scores: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """The mean over the seeds, each seed's value beside it."""
    if not scores:
        return
    for way, told in WAYS.items():
        for tier in TIERS:
            values = [one[way][f"ap_{tier}"] for one in scores]
            yield _mean(f"AP(.5,.75), {name}, by {told}, {tier}", values)


def detector_rows(name: str, scores: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Of the detector that a head was beside: its boxes, and the names of its own aligner."""
    if not scores:
        return
    told = [one["aligner"] for one in scores]
    yield _mean(f"AP75 agnostic, beside {name}", [one["agnostic_ap75"] for one in told])
    for tier in TIERS:
        values = [one[f"ap_{tier}"] for one in told]
        yield _mean(f"AP(.5,.75), the aligner beside {name}, {tier}", values)


def claims(results: Results) -> Iterator[Row]:
    """Each as the mean of paired differences over the seeds."""
    for way in WAYS:
        yield _gain(results, "fine prototypes", "whole", "coarse", way, "ap", goal=0)
    for way in WAYS:
        yield _gain(results, "the second level, at equal number", "whole", "flat", way, "ap")
        yield _gain(results, "fine ones, no residual", "bare", "bare, coarse", way, "ap")
    for tier in TIERS:
        yield _gain(results, "temperature .03", "sharp", "whole", "free", f"ap_{tier}")
    for claim, arm, other in (
        ("isolation", "constant", "shared"),
        ("cosine schedule", "whole", "constant"),
    ):
        for tier in ("frequent", "rare"):
            yield _gain(results, claim, arm, other, "list", f"ap_{tier}", goal=MOST_HARM)
        yield _gain(results, claim, arm, other, "list", "ap_unseen", goal=0)
        yield _gain(results, claim, arm, other, "free", "ap_unseen")
    yield _gain(results, "cosine, gradient shared", "shared, cosine", "shared", "list", "ap_unseen")
    metric = "agnostic_ap75"
    yield _gain(results, "isolation", "constant", "shared", "aligner", metric, goal=MOST_HARM)


def _gain(
    results: Results,
    claim: str,
    arm: str,
    other: str,
    way: str,
    score: str,
    *,
    goal: float | None = None,
) -> Row:
    by = "boxes" if way == "aligner" else f"by {WAYS[way]}"
    return paired(
        f"{claim}, {by}, {score}: {arm} - {other}",
        [one[way][score] for one in _of(results, arm)],
        [one[way][score] for one in _of(results, other)],
        goal,
        allowing=goal is not None and goal < 0,
    )


def _of(results: Results, name: str) -> list[Mapping[str, Any]]:
    """Of the seeds that have this head, in their order."""
    return [results[seed][name] for seed in SEEDS if name in results.get(seed, {})]


def _mean(metric: str, values: Sequence[float]) -> Row:
    return Row(metric, fmean(values), detail=f"seeds: {', '.join(f'{v:.1f}' for v in values)}")
