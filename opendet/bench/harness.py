"""What a bench is, and what it hands back. A bench measures; it never fails a build.

A bench is a function of a `Place` that yields rows. Work that takes long is cut into units: a
unit's result is on disk once it is done, so that a bench can be finished in pieces.
"""

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from opendet.bench.machine import machine
from opendet.files import canonical_json, write_json_durably
from opendet.fingerprint import import_closure

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Row:
    """One number, and what was hoped of it."""

    metric: str
    value: float | str
    goal: str = ""
    holds: bool | None = None
    """None where there is no goal."""
    detail: str = ""
    """What a reader needs to judge the value: its error, how many seeds, what it is made of."""


def at_least(metric: str, value: float, goal: float, detail: str = "") -> Row:
    return Row(metric, value, f">= {goal:g}", value >= goal, detail)


def at_most(metric: str, value: float, goal: float, detail: str = "") -> Row:
    return Row(metric, value, f"<= {goal:g}", value <= goal, detail)


def paired(
    metric: str,
    arm: Sequence[float],
    other: Sequence[float],
    goal: float | None = None,
    *,
    allowing: bool = False,
) -> Row:
    """Arm minus other, seed by seed: the mean, and whether it reaches the goal.

    It must also be more than two standard errors above 0, unless the goal only bounds a loss
    (`allowing`: "not lower than").
    """
    mean, error = mean_and_error([a - b for a, b in zip(arm, other, strict=True)])
    detail = f"{fmean(arm):.4g} against {fmean(other):.4g}; error {error:.2g}, {len(arm)} seeds"
    if goal is None:
        return Row(metric, mean, detail=detail)
    holds = mean >= goal and (allowing or mean > 2 * error)
    return Row(metric, mean, f">= {goal:g}" + ("" if allowing else ", > 2 errors"), holds, detail)


def paired_by(
    metric: str,
    arm: Sequence[Mapping[str, float]],
    other: Sequence[Mapping[str, float]],
    score: str,
    goal: float | None = None,
    *,
    allowing: bool = False,
) -> Row:
    """`paired` of one score of each seed's several."""
    return paired(
        metric, [one[score] for one in arm], [one[score] for one in other], goal, allowing=allowing
    )


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean and its standard error; the error of one value is unknown, NaN."""
    return fmean(values), stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


@dataclass(slots=True)
class Place:
    """Where a bench works, on what, and until when."""

    folder: Path
    """Of this bench alone, kept between runs."""
    device: str = "cpu"
    deadline: float = math.inf
    """By `time.monotonic`: no unit begins after it."""
    results: Path | None = None
    """Where the results of units are kept; None for `folder`."""
    docs: Path = Path("docs")
    """Where the record lies, and pictures beside it."""
    done: int = field(default=0, init=False)
    asked: int = field(default=0, init=False)
    reused: int = field(default=0, init=False)

    def unit(
        self, settings: Mapping[str, Any], code: str, work: Callable[[], Any], *, what: str
    ) -> Any:
        """The kept result of a unit of work, which is done now if it is not; None for want of time.

        It is known by its settings and by `code`, a version of whatever computes it. Settings and
        result are JSON; a result is never None.
        """
        self.asked += 1
        known = canonical_json({"settings": dict(settings), "code": code, "device": self.device})
        folder = self.folder if self.results is None else self.results
        kept = folder / f"{hashlib.sha256(known.encode()).hexdigest()[:16]}.json"
        if kept.is_file():
            self.done, self.reused = self.done + 1, self.reused + 1
            return json.loads(kept.read_text())["result"]
        if time.monotonic() >= self.deadline:
            return None
        start = time.monotonic()
        result = work()
        assert result is not None, what
        seconds = round(time.monotonic() - start, 1)
        made = {"seconds": seconds, "machine": machine(), "date": date.today().isoformat()}
        write_json_durably(kept, {**json.loads(known), **made, "result": result})
        log.info("%s: done in %.0f s", what, seconds)
        self.done += 1
        return result


Bench = Callable[[Place], Iterator[Row]]


def code_of(*modules: str) -> str:
    """A version of these modules and of all of Open-Det that they import: a hash of the source.

    Without this one, which keeps results and makes none.
    """
    digest = hashlib.sha256()
    for path in sorted(import_closure(modules) - {Path(__file__).resolve()}):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def run_bench(bench: Bench, place: Place) -> list[Row]:
    """All its rows, with a last one that says how long it took, or what is still to be done."""
    start, worked = time.monotonic(), time.process_time()
    rows = list(bench(place))
    if place.done < place.asked:
        rows.append(Row("units done", f"{place.done} of {place.asked}", "all", False))
    elif not place.reused:
        worked = time.process_time() - worked
        wall = time.monotonic() - start
        rows.append(Row("wall time, s", round(wall, 1), detail=f"CPU time {worked:.0f} s"))
    return rows
