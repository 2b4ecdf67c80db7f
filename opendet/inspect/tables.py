"""Tables for people of what `opendet.inspect` finds. On a terminal by rich, plain elsewhere."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from opendet.console import printable
from opendet.stage_order import SAMPLE_STAGES

if TYPE_CHECKING:  # whoever shows a line need not load all that could be shown
    from opendet.answers.store import KindStats
    from opendet.inspect.doctor import Check
    from opendet.inspect.stats import BuildStats, RecordStats, StageStats
    from opendet.inspect.verify import Verdict

PLAIN_WIDTH = 160
"""Columns where the output is no terminal."""


def show(*things: Table | str) -> None:
    """Print tables and lines on stdout. What is in them is the data's: nothing of it is markup."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    for thing in things:
        if isinstance(thing, Table):
            console.print(thing)
        else:
            console.print(printable(thing), soft_wrap=True)


def ledger_table(stages: "Iterable[StageStats]") -> Table:
    """What came into each stage, what came out, and where the rest is."""
    columns = ("stage", "in", "out", "dropped", "quarantined", "refused regions", "seconds")
    table = _table(columns, right=("in", "out", "quarantined", "seconds"))
    for stage in stages:
        table.add_row(
            stage.stage,
            str(stage.samples_in) if stage.stage in SAMPLE_STAGES else "",
            str(stage.samples_out) if stage.stage in SAMPLE_STAGES else "",
            _counts(stage.dropped),
            str(stage.quarantined) if stage.quarantined else "",
            _counts(stage.refused),
            "" if stage.seconds is None else f"{stage.seconds:.1f}",
        )
    return table


def stats_lines(stats: "BuildStats") -> Iterator[Table | str]:
    """The ledger, what else the stages counted, and what the records say."""
    yield ledger_table(stats.stages)
    for stage in stats.stages:
        if stage.counted:
            yield f"{stage.stage} counted: {_counts(stage.counted)}"
    if stats.records:
        yield from _record_lines(stats.records)


def verdict_table(verdicts: "Iterable[Verdict]") -> Table:
    table = _table(("stage", "parts", "files", "MB", "verdict"), right=("parts", "files", "MB"))
    for verdict in verdicts:
        problems = len(verdict.problems)
        said = f"{problems} problem{'s' if problems > 1 else ''}" if problems else "whole"
        megabytes = f"{verdict.bytes / 1e6:.1f}"
        table.add_row(verdict.stage, str(verdict.parts), str(verdict.files), megabytes, said)
    return table


def check_table(checks: "Iterable[Check]") -> Table:
    table = _table(("", "", "found"))
    for check in checks:
        mark = "ok" if check.well else "MISSING" if check.needed else "-"
        table.add_row(mark, check.name, printable(check.said))
    return table


def answers_table(kinds: "Iterable[KindStats]") -> Table:
    """What the answer store holds, kind by kind."""
    columns = ("kind", "of", "answers", "MB", "idle days", "model", "revision", "asked")
    table = _table(columns, right=("answers", "MB", "idle days"))
    for one in kinds:
        about = {**one.kind, **dict(one.kind.get("asked", {}))}
        said = [str(about.pop(key, "")) for key in ("answers", "model", "revision")]
        model = said[1] or str(about.get("name", ""))
        numbers = (f"{one.answers}", f"{one.bytes / 1e6:.1f}", f"{one.idle_days:.1f}")
        row = (said[0], *numbers, model, said[2], _how(about))
        table.add_row(one.name, *map(printable, row))
    return table


TOLD = ("annotator", "layout", "architecture", "dialect", "floor", "tile", "dtype", "temperature")
"""What of a kind tells it from others at a glance; the whole lies in its kind.json."""


def _how(about: Mapping[str, Any]) -> str:
    told = [f"{key} {about[key]}" for key in TOLD if about.get(key) is not None]
    named = about.get("class_names")
    return ", ".join([*told, *([f"{len(named)} names"] if named else [])])


def _record_lines(records: "RecordStats") -> Iterator[str]:
    least, median, most = records.caption_words
    yield f"records of {records.stage}: {records.images} images"
    yield f"  regions   {records.regions}, {records.kept} kept; by size: {_counts(records.boxes)}"
    yield (
        f"  captions  {least} to {most} words, median {median}; "
        f"{records.without_caption} images without one"
    )
    if records.names:
        yield f"  names     {records.distinct_names}, the most frequent: {_counts(records.names)}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{printable(name)} {count}" for name, count in counts.items())


def _table(columns: Sequence[str], *, right: Sequence[str] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table
