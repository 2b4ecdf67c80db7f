"""The prototype pool's clustering at full size, against scikit-learn's on the same two cores.

Compared by CPU time, which a machine's other work hardly changes; wall time stands beside it.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from opendet.bench.harness import Place, Row, at_least, at_most
from opendet.bench.pool_runs import Told, Work, alone, ours, scikit_learn

VERSION = "1"
"""Raise it when the clustering changes: scikit-learn's run alone takes more than an hour."""
FASTER, INERTIA, GIGABYTES, LINEAR = 3.0, 1.01, 8.0, 1.25


def measure(place: Place, work: Work | None = None) -> Iterator[Row]:
    """Speed, inertia, memory and bytes against scikit-learn's, and a table over sizes."""
    work = work or Work()
    mine = _unit(place, work, ours, work.compared)
    again = _unit(place, work, ours, work.compared, turn=1)
    theirs = _unit(place, work, scikit_learn, work.compared)
    size = f"{work.compared:,} x {work.width}"
    if mine and theirs:
        yield from _compared(mine, theirs, size)
    if mine:
        yield at_most(f"peak memory, GB, {size}", mine.gigabytes, GIGABYTES)
    if mine and again:
        differs = int(mine.digest != again.digest)
        yield at_most("second runs with other bytes", differs, 0, mine.digest)
    table = {count: _unit(place, work, ours, count) for count in work.table}
    yield from _by_size({count: told for count, told in table.items() if told}, work.compared)


def _compared(mine: Told, theirs: Told, size: str) -> Iterator[Row]:
    yield at_least(
        f"times scikit-learn's speed, CPU time, {size}",
        theirs.cpu_seconds / mine.cpu_seconds,
        FASTER,
        f"{mine.cpu_seconds:.0f} s against {theirs.cpu_seconds:.0f}; wall time {mine.seconds:.0f} "
        f"against {theirs.seconds:.0f} s, of which KMeans {theirs.kmeans_seconds:.0f}",
    )
    yield at_most(
        "inertia over scikit-learn's",
        mine.inertia / theirs.inertia,
        INERTIA,
        f"{mine.inertia:.5f}, {theirs.inertia:.5f}",
    )
    detail = f"theirs {theirs.spots}; noise {mine.noise:.3f}, theirs {theirs.noise:.3f}"
    yield Row("dense spots", mine.spots, detail=detail)
    yield Row("scikit-learn's peak memory, GB", theirs.gigabytes)


def _by_size(table: dict[int, Told], compared: int) -> Iterator[Row]:
    rates = {count: told.cpu_seconds / count * 1e6 for count, told in table.items()}
    for count, told in table.items():
        detail = f"CPU time {told.cpu_seconds:.0f} s, wall {told.seconds:.0f} s"
        detail += f"; {told.gigabytes:.1f} GB"
        yield Row(f"CPU seconds a million vectors, {count:,}", rates[count], detail=detail)
    # Below, the sowing weighs, which takes as long for few vectors as for many.
    most = max(rates, default=0)
    if compared in rates and most > compared:
        yield at_most(
            f"CPU seconds a million, {most:,} over {compared:,}",
            rates[most] / rates[compared],
            LINEAR,
        )


def _unit(
    place: Place,
    work: Work,
    run: Callable[[Work, Path, int], Told],
    count: int,
    *,
    turn: int = 0,
) -> Told | None:
    settings = {**asdict(work), "table": None, "run": run.__name__, "count": count, "turn": turn}
    result: dict[str, Any] | None = place.unit(
        settings,
        VERSION,
        partial(alone, run, work, place.folder, count),
        what=f"{run.__name__}, {count:,} vectors",
    )
    return None if result is None else Told(**result)
