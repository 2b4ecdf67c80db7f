"""Worth of curation: the same training on raw labels, on filtered ones, and on what the
label-value loop leaves of those.

Wrong names are planted in the small world; a filter finds some of them, and the first training on
what it leaves says which others it cannot believe (`planted`). All trainings have equal steps and
begin with equal weights.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from opendet.bench.harness import Place, Row, paired
from opendet.bench.planted import CAUGHT, LOST, PLANTED, Course, run_course
from opendet.bench.processes import run_units

SEEDS = (0, 1, 2)
VERSION = "1"
"""Raise it when kept runs no longer stand beside new ones."""
GAIN = 5.0
"""AP with names that a filter is to be worth."""

Result = Mapping[str, Any]
"""What `run_course` returns."""


def curation(place: Place) -> Iterator[Row]:
    """Raw, filtered and looped, seed by seed."""
    courses = [
        Course(filtered, rounds, seed)
        for seed in SEEDS
        for filtered, rounds in ((False, 0), (True, 1))
    ]
    results = run_units(courses, run_course, place, version=VERSION)
    raw = {one.seed: results[one] for one in courses if one in results and not one.filtered}
    looped = {one.seed: results[one] for one in courses if one in results and one.filtered}
    seeds = sorted(raw.keys() & looped.keys())
    if seeds:
        yield from compared([raw[seed] for seed in seeds], [looped[seed] for seed in seeds])


def compared(raw: Sequence[Result], looped: Sequence[Result]) -> Iterator[Row]:
    """What the labels are worth, what training made of them, and what it said of them."""
    arms: dict[str, list[Mapping[str, float]]] = {
        "raw": [one["trainings"][0] for one in raw],
        "filtered": [one["trainings"][0] for one in looped],
        "filtered + loop": [one["trainings"][1] for one in looped],
    }
    planted = f"planted {100 * PLANTED:.0f} %"
    simulated = f"filter: {100 * CAUGHT:.0f} % of the wrong, {100 * LOST:.0f} % of the right"
    settings = {"raw": planted, "filtered": f"refused by the {simulated}", "filtered + loop": ""}
    for arm, trainings in arms.items():
        yield _mean(f"names wrong, %, {arm}", trainings, "wrong", settings[arm])
    for arm, trainings in arms.items():
        yield _mean(f"AP with names, {arm}", trainings, "ap")
    for metric, arm, other, goal in (
        ("AP with names: filtered - raw", "filtered", "raw", GAIN),
        ("AP with names: loop - filtered", "filtered + loop", "filtered", 0.0),
        ("AP with names: loop - raw", "filtered + loop", "raw", None),
    ):
        yield paired(metric, _scores(arms[arm], "ap"), _scores(arms[other], "ap"), goal)
    for metric, score in (
        ("training's word: wrong of what it refuses, %", "precision"),
        ("training's word: refused of the wrong, %", "recall"),
        ("agreement: right above wrong, %", "separation"),
    ):
        yield _mean(metric, arms["filtered"], score)
    seconds = [one["cpu_seconds"] / len(one["trainings"]) for one in (*raw, *looped)]
    yield Row("CPU s of a training", fmean(seconds))


def _mean(metric: str, trainings: Sequence[Mapping[str, float]], score: str, what: str = "") -> Row:
    values = _scores(trainings, score)
    seeds = f"seeds: {', '.join(f'{value:.1f}' for value in values)}"
    return Row(metric, fmean(values), detail="; ".join(filter(None, (seeds, what))))


def _scores(trainings: Sequence[Mapping[str, float]], score: str) -> list[float]:
    return [one[score] for one in trainings]
