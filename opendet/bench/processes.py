"""Training runs of a bench: each in a process of its own, one on each core, their results kept."""

import hashlib
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

from opendet.bench.harness import Place
from opendet.console import dress_logging
from opendet.files import canonical_json


class Unit(Protocol):
    """One run: what decides its result, and what to call it."""

    @property
    def title(self) -> str: ...

    def settings(self) -> dict[str, Any]: ...


U = TypeVar("U", bound=Unit)


def run_units(
    units: Sequence[U],
    run: Callable[[U, Path, str], dict[str, Any]],
    place: Place,
    *,
    version: str,
) -> dict[U, dict[str, Any]]:
    """The results of those units that there was time for, begun in their order.

    `run` gets a unit, a folder for its checkpoints and the device, in a process of its own.
    """
    cores = len(os.sched_getaffinity(0))
    spawn = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(cores, spawn, initializer=dress_logging) as processes,
        ThreadPoolExecutor(cores) as threads,
    ):
        try:
            waiting = [
                threads.submit(_result, unit, run, place, version, processes) for unit in units
            ]
            results = [one.result() for one in waiting]
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()  # its checkpoint is where the next run goes on
            raise
    told = zip(units, results, strict=True)
    return {unit: result for unit, result in told if result is not None}


def _result(
    unit: U,
    run: Callable[[U, Path, str], dict[str, Any]],
    place: Place,
    version: str,
    processes: ProcessPoolExecutor,
) -> dict[str, Any] | None:
    settings = unit.settings()
    name = hashlib.sha256(canonical_json(settings).encode()).hexdigest()[:16]

    def work() -> dict[str, Any]:
        return processes.submit(run, unit, place.folder / f"run-{name}", place.device).result()

    result: dict[str, Any] | None = place.unit(settings, version, work, what=unit.title)
    return result
