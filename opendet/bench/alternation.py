"""Several ways to do one thing, in alternating rounds: CPU time, wall time and memory of each.

Ratios are of CPU time, all threads of the process counted: on a machine that others use too, wall
time tells more of the others.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from opendet.bench.process_tree import peak_bytes, reset_peak

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Spent:
    """What one way cost, round by round."""

    cpu: tuple[float, ...]
    """Seconds."""
    wall: tuple[float, ...]
    """Seconds."""
    megabytes: float
    """That the process held at most in an untimed first round, above what it held before."""


def alternate(
    ways: Mapping[str, Callable[[], object]], *, rounds: int = ROUNDS
) -> dict[str, dict[str, Any]]:
    """Each way once untimed, then all in each round, every other round in the opposite order.

    Returns the fields of a `Spent` by the way's name, as a unit keeps them.
    """
    megabytes = {name: _megabytes(work) for name, work in ways.items()}
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name in list(ways)[:: -1 if turn % 2 else 1]:
            spent[name].append(_seconds(ways[name]))
    return {
        name: asdict(
            Spent(tuple(cpu for cpu, _ in costs), tuple(wall for _, wall in costs), megabytes[name])
        )
        for name, costs in spent.items()
    }


def spent_of(told: Mapping[str, Mapping[str, Any]]) -> dict[str, Spent]:
    """Back from what a unit kept."""
    return {
        name: Spent(tuple(one["cpu"]), tuple(one["wall"]), one["megabytes"])
        for name, one in told.items()
    }


def times(theirs: Spent, *ours: Spent) -> float:
    """How many times as much CPU time theirs took as all of ours: the median over the rounds, since
    what slows a round slows both."""
    rounds = zip(theirs.cpu, *(one.cpu for one in ours), strict=True)
    return float(median(their / sum(our) for their, *our in rounds))


def wall_times(theirs: Spent, ours: Spent) -> float:
    """The same of the wall time, for work that waits."""
    return median(their / our for their, our in zip(theirs.wall, ours.wall, strict=True))


def cost(spent: Spent, count: int, *, unit: str = "us") -> str:
    """One of `count` things: the median of its CPU time and the spread, and its wall time."""
    scale = {"us": 1e6, "ms": 1e3, "s": 1.0}[unit] / count
    low, high = min(spent.cpu) * scale, max(spent.cpu) * scale
    return (
        f"{median(spent.cpu) * scale:.3g} {unit} ({low:.3g} to {high:.3g}), "
        f"wall {median(spent.wall) * scale:.3g}"
    )


def per(spent: Spent, count: int) -> float:
    """Microseconds of CPU time for one of `count` things, the median over the rounds."""
    return median(spent.cpu) / count * 1e6


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def _megabytes(work: Callable[[], object]) -> float:
    reset_peak()
    before = peak_bytes()
    work()
    return max(0, peak_bytes() - before) / 1e6
