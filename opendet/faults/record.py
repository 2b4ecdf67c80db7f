"""`docs/faults.json`, and the page that is written from it."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opendet.faults.rows import Fault, Shown
from opendet.files import write_durably, write_json_durably

log = logging.getLogger(__name__)

HOLDS = "holds"
HEAD = (
    "# Faults\n\nWritten by `make faults`; [reliability.md](reliability.md) says what is promised. "
    "N of N good tries bound the rate of failure at 3/N (95 %). A try of R2 or R10 is a whole run, "
    "killed again and again: its kills stand in the figure.\n"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A fault, and what showing it came to."""

    fault: Fault
    shown: Shown
    seconds: float
    share: float = 1.0
    """Of the tries that the bar asks for."""
    cut: bool = False
    """Its time was up before its tries were."""

    @property
    def verdict(self) -> str:
        if self.shown.unmeasured:
            return "not measured"
        if self.shown.good < self.shown.tries:
            return "missed"
        return "not finished" if self.cut else HOLDS if self.shown.holds else "missed"

    def cells(self) -> tuple[str, ...]:
        """As a table has them."""
        good = f"{self.shown.good} of {self.shown.tries}"
        figure = self.shown.unmeasured or self.shown.figure
        told = (self.fault.number, self.fault.fault, good, self.verdict, figure)
        return (*told, self.shown.peers, f"{self.seconds:.0f}{_short(self.share)}")


def record(docs: Path, row: Row) -> None:
    """Put a row in the place of the one that was there, and write the page anew. One of fewer tries
    never takes the place of one of all."""
    from opendet.bench.machine import machine

    shown = row.shown
    told = {
        "number": row.fault.number,
        "fault": row.fault.fault,
        "expected": row.fault.expected,
        "tries": shown.tries,
        "good": shown.good,
        "verdict": row.verdict,
        "figure": shown.unmeasured or shown.figure,
        "peers": shown.peers,
        "problems": list(shown.problems),
        "seconds": row.seconds,
        "share": row.share,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
    }
    path = docs / "faults.json"
    before = json.loads(path.read_text()) if path.is_file() else []
    kept = [one for one in before if one["number"] != row.fault.number]
    if any(one["share"] > row.share for one in before if one not in kept):
        log.info("%s: the record keeps its run of more tries", row.fault.number)
        return
    rows = sorted([*kept, told], key=lambda one: order_of(one["number"]))
    write_json_durably(path, rows)
    write_durably(docs / "faults.md", page(rows).encode())


def _short(share: float) -> str:
    return "" if share == 1 else ", short"


def order_of(number: str) -> tuple[int, str]:
    """R2 before R10, R7 before R7b."""
    digits = number[1:].rstrip("abc")
    return int(digits), number[1 + len(digits) :]


def page(rows: Sequence[Mapping[str, Any]]) -> str:
    """The record as Markdown."""
    lines = [HEAD, "| | fault | expected | good | verdict | figure | peers | made |"]
    lines.append("|---|---|---|---:|---|---|---|---|")
    for one in rows:
        good = f"{one['good']} of {one['tries']}"
        made = f"{one['date']}, {one['seconds']:.0f} s{_short(one['share'])}"
        cells = (*(one[key] for key in ("number", "fault", "expected")), good, one["verdict"])
        lines.append(f"| {' | '.join((*cells, one['figure'], one['peers'], made))} |")
    machines = sorted({str(one["machine"]) for one in rows})
    return "\n".join([*lines, "", f"On {'; '.join(machines)}.", ""])
