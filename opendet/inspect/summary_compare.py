"""Two collections side by side, in numbers: a build and the one before it, say."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.table import Table

from opendet.console import printable
from opendet.inspect.summary import Summary

TOP = 15
"""Names whose counts differ most that are shown."""


def comparison_lines(here: Summary, there: Summary) -> Iterator[Table | str]:
    """What differs between them; a count that is the same on both sides is shown once, above."""
    same, only_here, only_there = _keys(here, there)
    yield (
        f"{here.name} against {there.name}: {same} samples in both, {only_here} only in the first, "
        f"{only_there} only in the second"
    )
    totals = [(name, count, _totals(there)[name]) for name, count in _totals(here).items()]
    yield _table("", here, there, totals)
    for title, ours, theirs in _counts(here, there):
        if rows := _differing(ours, theirs):
            yield _table(title, here, there, rows[:TOP])
            if len(rows) > TOP:
                yield f"and {len(rows) - TOP} more of {title} differ"


def comparison_json(here: Summary, there: Summary) -> dict[str, Any]:
    """For programs: each count of both, and how many keys they share."""
    same, only_here, only_there = _keys(here, there)
    ours, theirs = _totals(here), _totals(there)
    return {
        "names": [here.name, there.name],
        "keys": {"both": same, "only_first": only_here, "only_second": only_there},
        "totals": {name: [ours[name], theirs[name]] for name in ours},
        **{
            title: {name: [one, other] for name, one, other in _differing(first, second)}
            for title, first, second in _counts(here, there)
        },
        "troubles": [*here.troubles, *there.troubles],
    }


def _keys(here: Summary, there: Summary) -> tuple[int, int, int]:
    same = len(here.keys & there.keys)
    return same, len(here.keys) - same, len(there.keys) - same


def _totals(summary: Summary) -> dict[str, int]:
    tally = summary.tally
    return {
        "samples": tally.samples,
        "left the flow": sum(_gone(summary).values()),
        "regions": tally.regions,
        "kept regions": tally.kept,
        "refused regions": tally.regions - tally.kept,
        "regions with a mask": tally.masks,
        "samples without a kept region": tally.without_region,
        "different names": len(tally.names),
    }


def _counts(
    here: Summary, there: Summary
) -> Iterator[tuple[str, Mapping[str, int], Mapping[str, int]]]:
    """Title, counts here, counts there."""
    ours, theirs = here.tally, there.tally
    yield "splits", ours.splits, theirs.splits
    yield "sources", ours.sources, theirs.sources
    yield "licences", ours.licences, theirs.licences
    yield "boxes by", ours.boxes_by, theirs.boxes_by
    yield "refused regions", ours.refusals, theirs.refusals
    yield "left the flow", _gone(here), _gone(there)
    yield "names", ours.names, theirs.names


def _gone(summary: Summary) -> Counter[str]:
    return Counter(
        {
            f"{stage}, {fate}: {reason}": count
            for stage, fates in summary.gone.items()
            for fate, reasons in fates.items()
            for reason, count in reasons.items()
        }
    )


def _differing(ours: Mapping[str, int], theirs: Mapping[str, int]) -> list[tuple[str, int, int]]:
    """What is not counted alike on both sides, the largest difference first."""
    rows = [(name, ours.get(name, 0), theirs.get(name, 0)) for name in {*ours, *theirs}]
    unlike = [row for row in rows if row[1] != row[2]]
    return sorted(unlike, key=lambda row: (-abs(row[1] - row[2]), row[0]))


def _table(title: str, here: Summary, there: Summary, rows: list[tuple[str, int, int]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(title, overflow="fold")
    for name in _headings(here, there):
        table.add_column(printable(name), justify="right", overflow="fold")
    for name, ours, theirs in rows:
        change = f"{ours - theirs:+}" if ours != theirs else ""
        table.add_row(printable(name), str(ours), str(theirs), change)
    return table


def _headings(here: Summary, there: Summary) -> tuple[str, str, str]:
    """Two of one name are told apart by their order."""
    alike = here.name == there.name
    first, second = ("first", "second") if alike else (here.name, there.name)
    return first, second, "more"
