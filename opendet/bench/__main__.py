"""`python -m opendet.bench [name ...]`: run benches, print their tables, record their rows."""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from opendet.bench import (
    annotators,
    build_growth,
    build_resume,
    build_speed,
    decoding,
    evaluating,
    forward,
    inspector,
    naming,
    pool,
    pool_update,
    pool_vocabularies,
    prototype_naming,
    random_access,
    reading,
    records,
    scale,
    tier1_alignment,
    tier1_exact,
    tier1_joint,
    tier1_naming,
    training_cost,
    vl_sam_parts,
    writing,
)
from opendet.bench.captions import captions
from opendet.bench.curation import curation
from opendet.bench.deco import deco
from opendet.bench.harness import Bench, Place, Row, run_bench
from opendet.bench.loader import loader
from opendet.bench.localisation import localisation
from opendet.bench.machine import machine
from opendet.bench.self_training import self_training
from opendet.bench.whole_model import whole_model
from opendet.console import dress_logging, exit_code_of, interrupt_on_sigterm, minutes

BENCHES: dict[str, Bench] = {
    "tier1-exact": tier1_exact.measure,
    "tier1-alignment": tier1_alignment.measure,
    "tier1-joint": tier1_joint.measure,
    "tier1-naming": tier1_naming.measure,
    "reading": reading.measure,
    "decoding": decoding.measure,
    "loader": loader,
    "random-access": random_access.measure,
    "writing": writing.measure,
    "evaluating": evaluating.measure,
    "naming": naming.measure,
    "prototype-naming": prototype_naming.measure,
    "vl-sam-parts": vl_sam_parts.measure,
    "pool-update": pool_update.measure,
    "pool": pool.measure,
    "pool-vocabularies": pool_vocabularies.measure,
    "inspector": inspector.measure,
    "build-speed": build_speed.measure,
    "build-resume": build_resume.measure,
    "build-growth": build_growth.measure,
    "scale": scale.measure,
    "forward": forward.measure,
    "training-cost": training_cost.measure,
    "annotators": annotators.measure,
    "localisation": localisation,
    "self-training": self_training,
    "curation": curation,
    "deco": deco,
    "captions": captions,
    "whole-model": whole_model,
}
"""Every bench by its name, in the order in which all of them run."""

GROUPS: dict[str, tuple[str, ...]] = {
    "tier1": ("tier1-exact", "tier1-alignment", "tier1-joint", "tier1-naming"),
    "short": (
        *("tier1-exact", "reading", "decoding", "loader", "random-access", "writing"),
        *("evaluating", "prototype-naming", "vl-sam-parts", "pool-update", "pool-vocabularies"),
        *("training-cost",),
    ),
}
"""Names that stand for several; `short` takes six minutes, all of them half an hour."""

LONG = ("localisation", "self-training", "curation", "deco", "captions", "whole-model", "pool")
"""Those whose units take minutes or hours, training runs most of them: their results lie in git, so
that the tables can be finished on several machines and days."""

log = logging.getLogger("opendet.bench")

PLAIN_WIDTH = 160  # Columns where the output is no terminal.


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and record. A missed goal is no error."""
    parser = argparse.ArgumentParser(prog="python -m opendet.bench", description=__doc__)
    parser.add_argument("names", nargs="*", help="benches or groups; default: all")
    parser.add_argument(
        "--device", default="cpu", choices=("cpu", "cuda"), help="what to measure on"
    )
    parser.add_argument(
        "--budget-minutes", type=minutes, default=inf, help="no unit of work begins after so long"
    )
    parser.add_argument("--work", type=Path, default=Path(".opendet/bench"), help="kept units")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where the record lies")
    parser.add_argument(
        "--runs",
        type=Path,
        help="where the results of training runs lie, for others than the record's (its `runs`)",
    )
    asked = parser.parse_args(arguments)
    if asked.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch sees no GPU here; leave it out for the CPU")
    if asked.runs is not None and not asked.runs.is_dir():
        raise ValueError(f"--runs {asked.runs}: there is no such folder")
    begin, verdicts = time.monotonic(), list[bool | None]()
    deadline = begin + 60 * asked.budget_minutes
    names = chosen(asked.names or list(BENCHES))
    for name in names:
        results = (asked.runs or asked.docs / "runs") / name if name in LONG else None
        place = Place(asked.work / name, asked.device, deadline, results, asked.docs)
        rows = run_bench(BENCHES[name], place)
        show(name, rows)
        verdicts += [row.holds for row in rows]
        records.record(
            asked.docs,
            name,
            rows,
            command=_command(name, asked.device),
            machine=machine(),
            date=datetime.now(UTC).date().isoformat(),
        )
    took = (time.monotonic() - begin) / 60
    log.info("%d benches in %.1f minutes: %s", len(names), took, records.held(verdicts))
    return 0


def chosen(names: list[str]) -> list[str]:
    """The benches that names and groups stand for. Raises ValueError for an unknown one."""
    there = {**{name: (name,) for name in BENCHES}, **GROUPS}
    unknown = [name for name in names if name not in there]
    if unknown:
        raise ValueError(f"no bench {', '.join(unknown)}; there are {', '.join(there)}")
    return list(dict.fromkeys(one for name in names for one in there[name]))


def show(name: str, rows: list[Row]) -> None:
    """A bench's table, on stdout."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=name, title_justify="left")
    for column in ("metric", "value", "goal", "verdict", ""):
        table.add_column(column, justify="right" if column == "value" else "left")
    for row in rows:
        said = (records.shown(row.value), row.goal, records.verdict(row.holds), row.detail)
        table.add_row(row.metric, *said)
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    console.print(table)


def _command(name: str, device: str) -> str:
    return f"make bench BENCH={name}" + (f" DEVICE={device}" if device != "cpu" else "")


if __name__ == "__main__":
    dress_logging()
    interrupt_on_sigterm()
    sys.exit(exit_code_of(main))
