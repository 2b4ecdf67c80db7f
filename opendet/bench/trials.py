"""The outcomes of many training runs, each a kept unit of a bench."""

from collections.abc import Sequence
from dataclasses import dataclass

from opendet.bench.harness import Place
from opendet.bench.processes import run_units
from opendet.bench.trial import Point, Trial, run_trial

VERSION = "1"
"""Raise it when the world, the judge or the training changes so much that kept runs no longer stand
beside new ones. Hours of training are not thrown away for a comment: each result says by what code
it was made."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    curve: tuple[Point, ...]
    parameters: int
    code: str

    @property
    def last(self) -> Point:
        return self.curve[-1]

    def at(self, step: int) -> Point:
        return next(point for point in self.curve if point["step"] == step)


def run_trials(trials: Sequence[Trial], place: Place) -> dict[Trial, Outcome]:
    """The outcomes of those runs that there was time for, begun in their order.

    Each trains on one thread, in a process of its own.
    """
    results = run_units(trials, run_trial, place, version=VERSION)
    return {
        trial: Outcome(tuple(result["curve"]), result["parameters"], result["code"])
        for trial, result in results.items()
    }
