"""Disks that are full, break, or run out of file handles, at each call that a build makes."""

import shutil
import time
from collections import Counter
from pathlib import Path

from opendet.faults.commit_cases import CASES, QUIET, Case, Sets
from opendet.faults.killed import bytes_of, leftovers
from opendet.faults.rows import Effort, Shown, Tally
from opendet.faults.syscalls import Ended, Step, failing, missing
from opendet.faults.toy_build import build

ERRORS = {
    "openat": ("EMFILE", "ENOSPC"),
    "mkdir": ("ENOSPC",),
    "mkdirat": ("ENOSPC",),
    "write": ("ENOSPC", "EIO"),
    "ftruncate": ("EIO",),
    "fchmod": ("EIO",),
    "fsync": ("EIO",),
    "rename": ("ENOSPC", "EIO"),
    "renameat": ("ENOSPC", "EIO"),
    "renameat2": ("ENOSPC", "EIO"),
    "link": ("EMFILE",),
    "linkat": ("EMFILE",),
    "close": ("EIO",),
}
"""What each call fails with. `unlink` and `rmdir` only clear up: they are killed, in R3."""
MAY_END_WELL = {"mkdir", "mkdirat", "link", "linkat", "close"}
"""Calls that a build can do without: it copies what cannot be linked, finds the folder there that
it was to make, or loses nothing by the close of one. Any other that fails must be told."""


def failed_calls(effort: Effort) -> Shown:
    """Let each call that changes a file fail once; then read, and run again."""
    if why := missing():
        return Shown(0, 0, "", unmeasured=why)
    tally, counts, well = Tally(), Counter[str](), Counter[str]()
    for number, case in enumerate(CASES):
        sets = case.may_be_seen(effort.folder / f"whole-{number}")
        for step in case.some_steps(effort.folder / f"steps-{number}", effort.share):
            for error in ERRORS.get(step.call, ()):
                if time.monotonic() >= effort.deadline:
                    break
                folder = effort.folder / "failed"
                problem, code = _one(case, folder, step, error, sets)
                tally.add(f"{case.name}, {error} at {step}: {problem}" if problem else "")
                counts[f"{error} at {step.call}"] += 1
                well[step.call] += code == 0
                shutil.rmtree(folder)
    return tally.shown(f"{_told(counts)}; ended well all the same: {_told(+well) or 'none'}")


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} x {what}" for what, count in sorted(counts.items()))


def _one(case: Case, folder: Path, step: Step, error: str, sets: Sets) -> tuple[str, int]:
    """What was not as it must be, empty where all was; and what the run ended with."""
    case.begin(folder)
    ended = failing(case.command(folder), step, error, QUIET, case.refused)
    whole = bytes_of(folder / "out") == sets.new
    problem = _of_end(step.call, ended, folder, whole=whole)
    problem = problem or sets.wrong_of(folder / "out", may_be_missing=False)
    # Where the clearing up after a publication failed, it is the next run that clears up.
    if not problem and ended.code and (left := leftovers(folder)):
        problem = f"left behind: {left[0].relative_to(folder)}"
    build(folder, case.settings)
    return problem or sets.wrong_of_next(folder), ended.code


def _of_end(call: str, ended: Ended, folder: Path, *, whole: bool) -> str:
    if ended.code == 0 and call not in MAY_END_WELL:
        return "ended well, and nobody was told"
    if ended.code == 0:
        return "" if whole else "ended well without its output"
    lines = [line for line in ended.said.splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("caption: ")]  # its progress
    if ended.code < 0:
        return f"ended by signal {-ended.code}"
    if len(told) != 1:
        return f"said {len(told)} lines: {told[-1:]}"
    return "" if str(folder) in told[0] else f"said no path: {told[0][:120]}"
