"""Builds that are killed at every step of the commit."""

import shutil
import signal
import time
from collections import Counter
from pathlib import Path

from opendet.faults.commit_cases import CASES, QUIET, Case, Sets
from opendet.faults.rows import Effort, Shown, Tally
from opendet.faults.syscalls import Step, killed_at, missing
from opendet.faults.toy_build import build


def commit_kills(effort: Effort) -> Shown:
    """Kill a build as it makes each call that changes a file; then read, and run again."""
    if why := missing():
        return Shown(0, 0, "", unmeasured=why)
    tally, told = Tally(), []
    for number, case in enumerate(CASES):
        sets = case.may_be_seen(effort.folder / f"whole-{number}")
        calls, gone = Counter[str](), 0
        for step in case.some_steps(effort.folder / f"steps-{number}", effort.share):
            if time.monotonic() >= effort.deadline:
                break
            folder = effort.folder / "killed"
            problem, missed = _one(case, folder, step, sets)
            tally.add(f"{case.name}, {step}: {problem}" if problem else "")
            calls[step.call] += 1
            gone += missed
            shutil.rmtree(folder)
        told.append(_told(case, calls, gone))
    return tally.shown("; ".join(told))


def _one(case: Case, folder: Path, step: Step, sets: Sets) -> tuple[str, bool]:
    """What was not as it must be, empty where all was; and whether what was published before was
    said to be missing after the kill."""
    case.begin(folder)
    ended = killed_at(case.command(folder), step, QUIET, case.refused)
    problem = "" if ended.code < 0 or ended.code == 128 + signal.SIGKILL else "was not killed"
    gone = bool(sets.old) and not (folder / "out").exists()
    problem = problem or sets.wrong_of(folder / "out", may_be_missing=bool(case.refused))
    build(folder, case.settings)
    return problem or sets.wrong_of_next(folder), gone


def _told(case: Case, calls: Counter[str], gone: int) -> str:
    counts = ", ".join(f"{count} x {call}" for call, count in sorted(calls.items()))
    missing_then = f", {gone} times said to be missing" if case.refused else ""
    return f"{case.name}: {counts}{missing_then}"
