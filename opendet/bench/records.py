"""`docs/benchmarks.json`, and the page that is written from it."""

import fcntl
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from opendet.bench.harness import Row
from opendet.files import write_durably, write_json_durably

HEAD = (
    "# Benchmarks\n\nWritten from `benchmarks.json` by the benches themselves: `make bench` runs "
    "all, `make bench BENCH=name` one. `runs/` holds the results of those whose runs take "
    "minutes or hours; `make bench RUNS=folder` makes them again.\n"
)


def record(
    docs: Path, name: str, rows: Iterable[Row], *, command: str, machine: str, date: str
) -> None:
    """Put a bench's rows in the place of those that the same command made before."""
    told = {"name": name, "command": command, "machine": machine, "date": date}
    with _alone(docs):
        kept = [one for one in read(docs) if (one["name"], one["command"]) != (name, command)]
        new = [told | _said(row) for row in rows]
        records = sorted(kept + new, key=lambda one: (one["name"], one["command"]))
        write_json_durably(docs / "benchmarks.json", records)
        write_durably(docs / "benchmarks.md", page(records).encode())


def read(docs: Path) -> list[dict[str, Any]]:
    path = docs / "benchmarks.json"
    return list(json.loads(path.read_text())) if path.is_file() else []


def page(records: Sequence[Mapping[str, Any]]) -> str:
    """The records as Markdown: the goals that are missed, then a table for each command."""
    parts = [HEAD, "\n".join(_at_a_glance(records))]
    for (name, command), rows in groupby(records, lambda one: (one["name"], one["command"])):
        parts.append("\n".join(_section(name, command, list(rows))))
    return "\n".join(parts) + "\n"


def held(verdicts: Iterable[bool | None]) -> str:
    """How many of the goals hold, in words."""
    judged = [holds for holds in verdicts if holds is not None]
    return f"{sum(judged)} of {len(judged)} goals hold"


def shown(value: float | str) -> str:
    """A number with four digits, which is more than a bench knows."""
    return value if isinstance(value, str) else f"{value:.4g}"


def verdict(holds: bool | None) -> str:
    return "" if holds is None else "holds" if holds else "missed"


def _at_a_glance(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    missed = [one for one in records if one["holds"] is False]
    yield f"**{held(one['holds'] for one in records)}.**" + " Missed are:" * bool(missed) + "\n"
    for one in missed:
        told = f"{one['metric']}: {shown(one['value'])}, goal {one['goal']}"
        yield f"- [{one['name']}](#{one['name']}): {told}"
    if missed:
        yield ""


def _section(name: str, command: str, rows: list[Mapping[str, Any]]) -> Iterator[str]:
    yield f"## {name}\n"
    yield f"`{command}`, {rows[0]['date']}, on {rows[0]['machine']}.\n"
    yield "| metric | value | goal | verdict | |\n|---|---:|---|---|---|"
    for row in rows:
        cells = (row["metric"], shown(row["value"]), row["goal"], verdict(row["holds"]))
        yield f"| {' | '.join((*cells, row['detail']))} |"
    yield ""


def _said(row: Row) -> dict[str, Any]:
    return {
        "metric": row.metric,
        "value": _exact(row.value),
        "goal": row.goal,
        "holds": row.holds,
        "detail": row.detail,
    }


def _exact(value: float | str) -> float | str:
    """Six digits; JSON knows no NaN."""
    if isinstance(value, str) or not math.isfinite(value):
        return str(value)
    return float(f"{value:.6g}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two benches may end at once: the later waits."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
