"""What two pools differ in, as tables and lines for a person."""

from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.table import Table

from opendet.console import printable
from opendet.pools.diff import LevelDiff, Pair, PoolDiff, Regrouping

MOST_NAMES, MOST_LINES = 12, 5
"""Shown of each kind; the counts above them are of all."""


def diff_lines(found: PoolDiff) -> Iterator[Table | str]:
    if found.same_bytes:
        yield f"{found.before} and {found.after} are the same pool, number for number"
        return
    yield _counts(found)
    yield f"names: {found.names_before} before, {found.names_after} after"
    yield from _listed("  lost", found.names_lost)
    yield from _listed("  gained", found.names_gained)
    if found.shared_members:
        yield f"members of both pools: {found.shared_members}"
    else:
        yield "members of both pools: none is known, so clusters are compared by their places alone"
    for level in found.levels:
        yield from _level_lines(level)


def _counts(found: PoolDiff) -> Table:
    columns = ("", "before", "after", "matched", "moved", "renamed", "split", "merged", "lost",
               "gained", "mean cosine", "Rand index")  # fmt: skip
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name else "left")
    for one in found.levels:
        counts = (one.before, one.after, one.matched, one.moved, one.renamed, one.split, one.merged,
                  one.lost, one.gained)  # fmt: skip
        table.add_row(
            one.level, *map(str, counts), _number(one.mean_cosine), _number(one.rand_index)
        )
    return table


def _level_lines(one: LevelDiff) -> Iterator[str]:
    yield from _some(f"{one.level}, moved farthest", map(_moved, one.farthest))
    yield from _some(f"{one.level}, with another name", map(_renamed, one.new_names))
    yield from _some(f"{one.level}, with another size", map(_resized, one.resized))
    yield from _some(f"{one.level}, split", (_regrouped(it, "into") for it in one.splits))
    yield from _some(f"{one.level}, merged", (_regrouped(it, "from") for it in one.merges))
    yield from _listed(f"{one.level}, lost", one.lost_names)
    yield from _listed(f"{one.level}, gained", one.gained_names)


def _moved(one: Pair) -> str:
    return f"{one.name} (row {one.before} -> {one.after}): cosine {one.cosine:.3f}"


def _renamed(one: Pair) -> str:
    return f"{one.name} -> {one.name_after}: cosine {one.cosine:.3f}"


def _resized(one: Pair) -> str:
    return f"{one.name}: {one.size} -> {one.size_after} members"


def _regrouped(one: Regrouping, how: str) -> str:
    return f"{one.name} (row {one.row}) {how} {', '.join(one.into)}"


def _some(title: str, lines: Iterable[str]) -> Iterator[str]:
    listed = list(lines)[:MOST_LINES]
    if listed:
        yield f"{title}:"
        yield from (f"  {printable(line)}" for line in listed)


def _listed(title: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        rest = len(names) - MOST_NAMES
        told = ", ".join(map(printable, names[:MOST_NAMES]))
        yield f"{title}: {told}" + (f" and {rest} more" if rest > 0 else "")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
