"""A command with all processes that it begins: what they cost, and the end of them all. A process's
own peak of memory."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

LOOK_EVERY_SECONDS = 0.1
"""What a process does after the last look at it is not counted."""
MOST_LINGERING_SECONDS = 30.0
"""That the descendants of a command that has ended are waited for."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Watched:
    """A command that has ended."""

    code: int
    """Its exit code; negative for the signal that killed it."""
    ended: float
    """When, by `time.monotonic`."""
    looks: list[tuple[float, float]]
    """By `time.monotonic`, the CPU seconds of it and all its descendants until then."""

    def cpu_seconds(self, begin: float, end: float) -> float:
        """Between two times of `time.monotonic`."""
        return self._until(end) - self._until(begin)

    def _until(self, when: float) -> float:
        return max((cpu for look, cpu in self.looks if look <= when), default=0.0)


def watch(
    command: Sequence[str],
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    kill_when: Callable[[], bool] = lambda: False,
) -> Watched:
    """Run a command in a folder, look at its processes meanwhile, and wait until all have ended.

    What it says goes to the file `said` there. All are killed when `kill_when`, asked at each look,
    says so. A daemon's worker is no child that anybody waits for, so that the kernel adds its time
    to nobody's: hence the looks.
    """
    looks: list[tuple[float, float]] = []
    seen: dict[tuple[int, int], float] = {}
    with (folder / "said").open("ab") as said:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        while (code := process.poll()) is None:
            _look(process.pid, seen)
            looks.append((time.monotonic(), sum(seen.values())))
            if kill_when():
                kill_tree(process.pid)
                process.wait()
            time.sleep(LOOK_EVERY_SECONDS)
    ended = time.monotonic()
    while _look(process.pid, seen) and time.monotonic() < ended + MOST_LINGERING_SECONDS:
        looks.append((time.monotonic(), sum(seen.values())))
        time.sleep(LOOK_EVERY_SECONDS)
    return Watched(code, ended, looks)


def kill_tree(root: int) -> None:
    """SIGKILL for a process, for its session and for all that they began: Ray's daemons and its
    workers have process groups of their own, and end some seconds after a driver that was killed.
    """
    # The root first: it must not see its daemons die, nor tell of it.
    for pid, _ in sorted(_family(root, {}), key=lambda one: one[0] != root):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # it has ended meanwhile
            continue


def _look(root: int, seen: dict[tuple[int, int], float]) -> bool:
    """Note the CPU seconds of all that the root's session and its descendants are, by process id
    and time of birth; whether any is left."""
    now = _family(root, seen)
    seen.update(now)
    return bool(now)


def _family(root: int, seen: Container[tuple[int, int]]) -> dict[tuple[int, int], float]:
    """The root, its session, those that were `seen` before, and all their descendants: by process
    id and time of birth the CPU seconds of each that runs."""
    running = {one.pid: one for one in _processes()}
    ours = {
        pid
        for pid, one in running.items()
        if pid == root or one.session == root or (pid, one.born) in seen
    }
    while new := {pid for pid, one in running.items() if one.parent in ours} - ours:
        ours |= new
    return {(pid, running[pid].born): running[pid].cpu for pid in ours}


class _Process(NamedTuple):
    pid: int
    parent: int
    session: int
    born: int
    """In ticks since the machine began."""
    cpu: float
    """Seconds."""


def _processes() -> Iterator[_Process]:
    """All that run and have not ended."""
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                text = (place / "stat").read_text()
            except OSError:  # it has ended meanwhile
                continue
            told = text.rpartition(")")[2].split()  # from the third field on
            if told[0] != "Z":
                cpu = (int(told[11]) + int(told[12])) / _TICKS
                yield _Process(int(place.name), int(told[1]), int(told[3]), int(told[19]), cpu)


def peak_bytes() -> int:
    """The most memory that this process held since it began, or since `reset_peak`.

    Of this program alone: `ru_maxrss` begins with what its parent held.
    """
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")
