"""Lets a chosen system call of a program fail, or kills the program just before it, by strace.

The layer below Python, Arrow and SQLite alike: what fails here fails as a disk does. A first run
lists the calls that touch a folder; each of them is then a place where things can go wrong.
"""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

CALLS = (
    *("openat", "write", "ftruncate", "fchmod", "fsync", "close", "mkdir", "mkdirat"),
    *("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "rmdir"),
)
"""What a commit is made of, on any machine: some have the one of a pair, some the other."""
FAST = "--seccomp-bpf"
"""Stops at the chosen calls alone; with it, strace 6.1 fails but does not kill."""
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += ")
WITHOUT = "strace is not installed: install it (apt-get install strace) and run this again"


@dataclass(frozen=True, slots=True)
class Step:
    """The Nth call of its kind that a program makes."""

    call: str
    number: int
    """From 1, of this kind in its thread."""
    what: str
    """Its arguments, for people."""

    def __str__(self) -> str:
        return f"{self.call} {self.number} ({self.what[:80]})"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended."""

    code: int
    said: str
    """On stderr."""


def missing() -> str:
    """What to say where strace is not there; empty where it is."""
    return "" if shutil.which("strace") else WITHOUT


def steps_of(
    command: Sequence[str], folder: Path, environment: dict[str, str], refused: Sequence[str] = ()
) -> list[Step]:
    """The calls by which a program changes files below `folder`, in their order; of writes that
    follow each other into one file the first, the middle one and the last."""
    trace = folder.parent / f"{folder.name}.trace"
    listing = [FAST, "-y", "-s", "0", "-o", str(trace), *refused]
    code = _strace(listing, command, environment).code
    assert code == 0, f"the undisturbed run ended with {code}"
    found, counts = [], Counter[tuple[str, str]]()
    for line in trace.read_text(errors="replace").splitlines():
        told = _LINE.match(line)
        if told is None:
            continue
        thread, call, arguments = told.groups()
        counts[thread, call] += 1
        if str(folder) in arguments and not _only_reads(call, arguments):
            said = arguments.replace(str(folder), "").partition(', ""')[0]  # without the content
            found.append(Step(call, counts[thread, call], said))
    return [step for run in _runs(found) for step in _of_run(run)]


def _runs(steps: list[Step]) -> list[list[Step]]:
    """Steps that follow each other and do the same to the same file, such as many small writes."""
    return [list(run) for _, run in groupby(steps, key=lambda step: (step.call, step.what))]


def _of_run(run: list[Step]) -> list[Step]:
    """The first, the middle one and the last."""
    places = sorted({0, len(run) // 2, len(run) - 1})
    return [run[place] for place in places]


def refusing(call: str, error: str) -> tuple[str, ...]:
    """For a system that has not the call: whoever makes it gets the error."""
    return ("-e", f"inject={call}:error={error}")


def failing(
    command: Sequence[str],
    step: Step,
    error: str,
    environment: dict[str, str],
    refused: Sequence[str] = (),
) -> Ended:
    """Run a program whose one call fails with an error such as ENOSPC."""
    inject = f"inject={step.call}:error={error}:when={step.number}"
    return _strace([FAST, "-o", os.devnull, "-e", inject, *refused], command, environment)


def killed_at(
    command: Sequence[str], step: Step, environment: dict[str, str], refused: Sequence[str] = ()
) -> Ended:
    """Run a program that is killed as it makes the call."""
    inject = f"inject={step.call}:signal=SIGKILL:when={step.number}"
    return _strace(["-o", os.devnull, "-e", inject, *refused], command, environment)


def _strace(options: Sequence[str], command: Sequence[str], environment: dict[str, str]) -> Ended:
    traced = ["strace", "-qq", "-f", "-e", f"trace={','.join(f'?{call}' for call in CALLS)}"]
    ran = subprocess.run(
        [*traced, *options, *command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return Ended(ran.returncode, ran.stderr)


def _only_reads(call: str, arguments: str) -> bool:
    return call == "openat" and "O_CREAT" not in arguments
