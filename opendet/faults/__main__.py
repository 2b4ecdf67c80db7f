"""`python -m opendet.faults [R1 ...]`: show each fault, print the table, record it.

Ends with 1 where a bar is missed, nothing could be measured, or the time was up before the tries.
"""

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from math import inf
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from opendet.console import FAILED, dress_logging, exit_code_of, interrupt_on_sigterm, minutes
from opendet.faults.record import HOLDS, Row, record
from opendet.faults.rows import Effort, Fault, Shown
from opendet.faults.table import FAULTS

log = logging.getLogger(__name__)

PLAIN_WIDTH = 160  # Columns where the output is no terminal.
SHORT = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m opendet.faults", description=__doc__)
    parser.add_argument("numbers", nargs="*", help="such as R1 R7b; default: all")
    parser.add_argument("--short", action="store_true", help="a tenth of the tries")
    parser.add_argument("--budget-minutes", type=minutes, default=inf, help="no try begins later")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where the record lies")
    asked = parser.parse_args(arguments)
    deadline = time.monotonic() + 60 * asked.budget_minutes
    share = SHORT if asked.short else 1.0
    rows = []
    for fault in chosen(asked.numbers):
        rows.append(shown_row(fault, share, deadline))
        show(rows[-1:])
        record(asked.docs, rows[-1])
    show(rows)
    return 0 if all(row.verdict == HOLDS for row in rows) else FAILED


def chosen(numbers: Sequence[str]) -> list[Fault]:
    """Raises ValueError for a number that no fault has."""
    there = {fault.number: fault for fault in FAULTS}
    unknown = [number for number in numbers if number not in there]
    if unknown:
        raise ValueError(f"no fault {', '.join(unknown)}; there are {', '.join(there)}")
    return [there[number] for number in numbers] or list(FAULTS)


def shown_row(fault: Fault, share: float, deadline: float) -> Row:
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="opendet-faults-") as folder:
        try:
            shown = fault.show(Effort(Path(folder).resolve(), share, deadline))
        except Exception as error:
            log.exception("%s broke", fault.number)
            told = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            shown = Shown(1, 0, "the row itself broke", problems=(told,))
    ended = time.monotonic()
    return Row(fault, shown, round(ended - begin, 1), share, cut=ended >= deadline)


def show(rows: Sequence[Row]) -> None:
    """The rows as a table, on stdout, and what was not as it must be."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "fault", "good", "verdict", "figure", "peers", "s"):
        table.add_column(column, justify="right" if column in ("good", "s") else "left")
    for row in rows:
        table.add_row(*row.cells())
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    console.print(table)
    for row in rows:
        for problem in row.shown.problems:
            console.print(f"{row.fault.number}: {problem}", soft_wrap=True)


if __name__ == "__main__":
    dress_logging()
    interrupt_on_sigterm()
    sys.exit(exit_code_of(main))
