"""A summary for people: counts as bars, what is not whole, and what was looked at at all."""

import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping

from rich import box
from rich.console import Group
from rich.table import Table

from opendet.console import printable
from opendet.inspect.histograms import Histogram, histograms_of
from opendet.inspect.summary import Summary

TOP = 20
"""Names and reasons that are shown of each kind."""
_BAR, _LABEL = 12, 24
"""Columns of a bar, and of a label at most."""
_ACROSS = 52
"""Columns that the widest table takes."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def summary_lines(summary: Summary) -> Iterator[Table | str]:
    """All of it; on a terminal tables stand side by side as far as there is room."""
    yield headline(summary)
    if summary.tally.samples:
        kinds = [kind for kind in _kinds(summary) if kind[2]]
        alike = [f"{title} {next(iter(n))}" for title, _, n in kinds if _is_alike(title, n)]
        yield f"the same for all: {', '.join(alike) or 'nothing'}"
        counted = [counts_table(*kind) for kind in kinds if not _is_alike(kind[0], kind[2])]
        histograms = map(_histogram, histograms_of(summary.tally))
        yield _side_by_side([*counted, *histograms], _columns())
    if summary.gone:
        yield _gone_table(summary.gone)
    yield _looked_at(summary)


def headline(summary: Summary) -> str:
    """The totals, in one line."""
    tally = summary.tally
    of_stage = f", as the stage {summary.stage} has them" if summary.stage else ""
    if not tally.samples:
        lost = f" of {summary.expected} that there should be" if summary.expected else ""
        return f"{summary.name}: no samples{lost}{of_stage}"
    missing = f" of {summary.expected}" if summary.expected != tally.samples else ""
    masks = f", {tally.masks} with a mask" if tally.masks else ""
    return (
        f"{summary.name}: {tally.samples}{missing} samples{of_stage}; {tally.regions} regions"
        f"{masks}, {tally.kept} kept and {tally.regions - tally.kept} refused; "
        f"{tally.without_region} samples without a kept region"
    )


def bar(count: int, most: int, *, width: int = _BAR) -> str:
    """A bar in proportion, in eighths of a column where the output can show them."""
    if not _unicode():
        return "#" * round(width * count / most)
    whole, eighths = divmod(max(1, round(8 * width * count / most)) if count else 0, 8)
    return "█" * whole + _EIGHTHS[eighths].strip()


def counts_table(title: str, unit: str, counts: Mapping[str, int], *, top: int = TOP) -> Table:
    """The most frequent first; of the rest only how many there are."""
    shown = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    table = _bars(title, unit, [(label or "(empty)", count) for label, count in shown[:top]])
    if rest := shown[top:]:
        table.add_row(f"and {len(rest)} more", str(sum(count for _, count in rest)), "")
    return table


def _kinds(summary: Summary) -> Iterator[tuple[str, str, Mapping[str, int]]]:
    """Title, unit and counts of all that tells samples or regions apart."""
    tally = summary.tally
    yield "split", "samples", tally.splits
    yield "source", "samples", tally.sources
    yield "licence", "samples", tally.licences
    yield "name", "regions", tally.names
    yield "refused region", "regions", tally.refusals
    yield "boxes by", "regions", tally.boxes_by
    yield "names by", "regions", tally.names_by
    yield "captions by", "samples", tally.captions_by


def _is_alike(title: str, counts: Mapping[str, int]) -> bool:
    """Whether one word says it all: a table of one row tells no more."""
    return len(counts) == 1 and title not in ("name", "refused region")


def _histogram(histogram: Histogram) -> Table:
    rows = [(f"{one.low:g} to {one.high:g}", one.count) for one in histogram.bars]
    return _bars(histogram.title, histogram.counted, rows)


def _bars(title: str, unit: str, rows: Iterable[tuple[str, int]]) -> Table:
    table = _table(title, unit)
    rows = list(rows)
    most = max((count for _, count in rows), default=0)
    for label, count in rows:
        table.add_row(printable(label), str(count), bar(count, max(most, 1)))
    return table


def _gone_table(gone: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("left the flow at", "fate", "samples", "reason"):
        table.add_column(column, justify="right" if column == "samples" else "left")
    for stage, fates in gone.items():
        for fate, reasons in fates.items():
            for reason, count in list(reasons.items())[:TOP]:
                table.add_row(stage, fate, str(count), printable(reason))
            if len(reasons) > TOP:
                left = list(reasons.values())[TOP:]
                table.add_row(stage, fate, str(sum(left)), f"and {len(left)} more reasons")
    return table


def _looked_at(summary: Summary) -> str:
    if summary.verified:
        return "looked at: every byte, each picture against its record's sha256"
    return (
        "looked at: sizes, headers, indices and every record, not the pictures' bytes "
        "(--verify reads those, too)"
    )


def _side_by_side(tables: Iterable[Table], columns: int) -> Table:
    """In columns, each table below the shortest one so far."""
    stacks: list[list[Table]] = [[] for _ in range(columns)]
    heights = [0] * columns
    for table in tables:
        shortest = heights.index(min(heights))
        stacks[shortest].append(table)
        heights[shortest] += table.row_count + 3  # a head, its line, and a gap
    grid = Table.grid(padding=(0, 3))
    grid.add_row(*(Group(*stack) for stack in stacks))
    return grid


def _table(title: str, unit: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(title, max_width=_LABEL if _columns() > 1 else None, overflow="fold")
    table.add_column(unit, justify="right", no_wrap=True)
    table.add_column("", min_width=_BAR, no_wrap=True)
    return table


def _columns() -> int:
    return max(1, shutil.get_terminal_size().columns // _ACROSS) if sys.stdout.isatty() else 1


def _unicode() -> bool:
    return "utf" in (getattr(sys.stdout, "encoding", None) or "").lower()
