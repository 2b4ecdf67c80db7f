"""Many training runs, as many at a time as there are cores, each one a kept unit of a bench."""

import hashlib
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from opendet.bench.harness import Place
from opendet.bench.trial import Point, Trial, run_trial
from opendet.console import dress_logging
from opendet.files import canonical_json

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
    cores = len(os.sched_getaffinity(0))
    spawn = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(cores, spawn, initializer=dress_logging) as processes,
        ThreadPoolExecutor(cores) as threads,
    ):
        try:
            waiting = [threads.submit(_unit, trial, place, processes) for trial in trials]
            results = [one.result() for one in waiting]
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()  # its checkpoint is where the next run goes on
            raise
    return {
        trial: Outcome(tuple(result["curve"]), result["parameters"], result["code"])
        for trial, result in zip(trials, results, strict=True)
        if result is not None
    }


def _unit(trial: Trial, place: Place, processes: ProcessPoolExecutor) -> dict[str, Any] | None:
    settings = trial.settings()
    name = hashlib.sha256(canonical_json(settings).encode()).hexdigest()[:16]

    def work() -> dict[str, Any]:
        folder = place.folder / f"run-{name}"
        return processes.submit(run_trial, trial, folder, place.device).result()

    result: dict[str, Any] | None = place.unit(settings, VERSION, work, what=trial.title)
    return result
