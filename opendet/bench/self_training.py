"""OWL-ST in the small world: does a student that never sees the truth beat the annotator whose
labels it learns from? (Minderer et al. 2023.)

The annotator errs in known ways (`imperfect`), on the scenes that it labels and on held-out ones by
the same chances; `student` says how the detector learns from what it said.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from opendet.bench.harness import Place, Row, paired
from opendet.bench.imperfect import Thresholds
from opendet.bench.processes import run_units
from opendet.bench.student import Lesson, teach_student

SEEDS = (0, 1, 2)
OWL_ST = Thresholds(box=0.1, image=0.3)
STRICT = Thresholds(box=0.5, image=0.7)
VERSION = "1"
"""Raise it when kept runs no longer stand beside new ones."""

Result = Mapping[str, Any]
"""`annotator`, `student`: each `ap50` and `ap` on the held-out scenes, in percent; `labels`:
`images` (used), `boxes` (of an image), `right` (percent of them: name, and IoU >= 0.5)."""


def self_training(place: Place) -> Iterator[Row]:
    """The student against its annotator, seed by seed; then what stricter labels come to."""
    lessons = [Lesson(thresholds, seed) for thresholds in (OWL_ST, STRICT) for seed in SEEDS]
    results = learn(lessons, place)
    first = [results[one] for one in lessons if one.thresholds == OWL_ST and one in results]
    strict = [results[one] for one in lessons if one.thresholds == STRICT and one in results]
    if first:
        yield from comparison(first)
    if len(first) == len(strict) == len(SEEDS):
        yield from thresholds_compared(first, strict)


def comparison(results: Sequence[Result]) -> Iterator[Row]:
    """What the labels are worth, then the student minus the annotator."""
    yield _mean("labels right, %", results, "labels", "right")
    for score, name in (("ap50", "AP50"), ("ap", "AP")):
        yield _mean(f"{name} with names, annotator", results, "annotator", score)
        yield _mean(f"{name} with names, student", results, "student", score)
        gains = [one["student"][score] - one["annotator"][score] for one in results]
        detail = f"seeds: {', '.join(f'{gain:+.1f}' for gain in gains)}"
        holds = min(gains) > 0 if len(gains) == len(SEEDS) else None
        goal = f"> 0 in all {len(SEEDS)} seeds"
        yield Row(f"{name}, student - annotator", fmean(gains), goal, holds, detail)
    seconds = fmean(one["cpu_seconds"] for one in results)
    yield Row("CPU s of a student's training", seconds)


def thresholds_compared(first: Sequence[Result], strict: Sequence[Result]) -> Iterator[Row]:
    """OWL-ST's thresholds against stricter ones, which give fewer labels and cleaner ones."""
    yield _mean("labels right, %, boxes from 0.5, images from 0.7", strict, "labels", "right")
    for what in ("images", "boxes"):
        yield paired(
            f"labels, {what}: from 0.1 / 0.3 - from 0.5 / 0.7",
            [one["labels"][what] for one in first],
            [one["labels"][what] for one in strict],
        )
    for score, name in (("ap50", "AP50"), ("ap", "AP")):
        yield paired(
            f"{name}, student: labels from 0.1 / 0.3 - from 0.5 / 0.7",
            [one["student"][score] for one in first],
            [one["student"][score] for one in strict],
        )


def learn(lessons: Sequence[Lesson], place: Place) -> dict[Lesson, dict[str, Any]]:
    """The results that there was time for."""
    return run_units(lessons, teach_student, place, version=VERSION)


def _mean(metric: str, results: Sequence[Result], group: str, score: str) -> Row:
    values = [one[group][score] for one in results]
    return Row(metric, fmean(values), detail=f"seeds: {', '.join(f'{v:.1f}' for v in values)}")
