"""Disks that are full, break, or run out of file handles, at each call that a build makes."""

import shutil
import time
from collections import Counter
from pathlib import Path

from opendet.faults.killed import FEW, QUIET, bytes_of, leftovers, undisturbed
from opendet.faults.rows import Effort, Shown, Tally
from opendet.faults.syscalls import Ended, Step, failing, missing, steps_of
from opendet.faults.toy_build import build, command

ERRORS = {
    "openat": ("EMFILE", "ENOSPC"),
    "mkdir": ("ENOSPC",),
    "write": ("ENOSPC", "EIO"),
    "fsync": ("EIO",),
    "rename": ("ENOSPC",),
    "link": ("EMFILE",),
    "close": ("EIO",),
}
"""What each call fails with. `unlink` and `rmdir` only clear up: they are killed, in R3."""


def failed_calls(effort: Effort) -> Shown:
    """Let each call that changes a file fail once; then read, and run again."""
    if why := missing():
        return Shown(0, 0, "", unmeasured=why)
    wanted = undisturbed(effort.folder, FEW)
    first = effort.folder / "steps"
    first.mkdir()
    steps = steps_of(command(first, FEW), first, QUIET)
    places = [(step, error) for step in steps for error in ERRORS.get(step.call, ())]
    tally, counts = Tally(), Counter[str]()
    every = max(1, round(1 / effort.share))
    for step, error in places[::every]:
        if time.monotonic() >= effort.deadline:
            break
        folder = effort.folder / "failed"
        folder.mkdir()
        problem = _one(folder, step, error, wanted)
        tally.add(f"{error} at {step}: {problem}" if problem else "")
        counts[f"{error} at {step.call}"] += 1
        shutil.rmtree(folder)
    return tally.shown(", ".join(f"{count} x {what}" for what, count in sorted(counts.items())))


def _one(folder: Path, step: Step, error: str, wanted: dict[str, bytes]) -> str:
    """What was not as it must be; empty where all was."""
    ended = failing(command(folder, FEW), step, error, QUIET)
    seen = bytes_of(folder / "out") if (folder / "out").exists() else {}
    problem = _of_end(ended, whole=seen == wanted)
    if not problem and seen not in ({}, wanted):
        problem = "a reader sees a mix"
    if not problem and (left := leftovers(folder)):
        problem = f"left behind: {left[0].relative_to(folder)}"
    build(folder, FEW)
    if not problem and bytes_of(folder / "out") != wanted:
        problem = "the next run ended with other bytes"
    return problem


def _of_end(ended: Ended, *, whole: bool) -> str:
    if ended.code == 0:
        return "" if whole else "ended well without its output"
    lines = [line for line in ended.said.splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("caption: ")]  # its progress
    if ended.code < 0:
        return f"ended by signal {-ended.code}"
    if len(told) != 1:
        return f"said {len(told)} lines: {told[-1:]}"
    return ""
