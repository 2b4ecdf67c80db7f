"""`python -m opendet.faults.soak --minutes 120`: builds, kills, rebuilds, reads, trains, on and on.

One process does it all, with children that are killed, and looks at itself after each round: its
memory, descriptors, threads, temporary files and shared memory. What a round left behind would add
up. Every look goes to docs/soak.json as it is taken, the verdict with it.
"""

import argparse
import gc
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from opendet.bench.process_tree import kill_tree
from opendet.console import FAILED, exit_code_of, interrupt_on_sigterm, minutes
from opendet.faults.killed import bytes_of, has_begun, leftovers, undisturbed
from opendet.faults.toy_build import Settings, build, command
from opendet.faults.toy_shards import write_toy_shards
from opendet.files import write_json_durably
from opendet.shard_check import verify_shards
from opendet.shard_set import ShardSet

MEGABYTES_AN_HOUR = 10.0
"""That memory may grow by over the second half: less than a day's growth fills no machine."""
TRAIN_EVERY, ON_RAY_EVERY = 3, 10
"""Rounds: a training takes longer than all else, and so does Ray's beginning."""
LONGEST = 1.5
"""Seconds after its beginning in which a build is killed: by itself it takes as long."""
HERE, KILLED, ON_RAY = Settings(), Settings(seconds=0.03), Settings(actors=2, seconds=0.05)
SHARED_MEMORY = Path("/dev/shm")
_MEGABYTE = 2**20


@dataclass(frozen=True, slots=True)
class Look:
    """How the process is between two rounds."""

    minutes: float
    """Since the beginning."""
    rounds: int
    megabytes: float
    """Resident."""
    descriptors: int
    threads: int
    children: int
    temporary: int
    """Files in its own temporary folder."""
    shared: int
    """Pieces of shared memory that it or its children have left."""


class Soak:
    """What is done round after round, and what was done so far."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rng = random.Random(0)
        self._pids = {os.getpid()}
        self.done = Counter[str]()
        self._wanted = undisturbed(_made(folder / "first"), HERE)
        self._begin = time.monotonic()
        self.rounds = 0

    def round(self) -> None:
        """Build, kill, rebuild, read and train in a folder that is gone afterwards. Raises
        AssertionError for anything that is not as it must be."""
        place = _made(self._folder / "round")
        self._build_killed(_made(place / "killed"))
        build(_made(place / "whole"), HERE)
        assert bytes_of(place / "whole" / "out") == self._wanted, "a build has other bytes"
        self.done["builds"] += 2
        self._read(place / "shards")
        if self.rounds % TRAIN_EVERY == 0:
            self._train(place)
        shutil.rmtree(place)
        # a Ray that was killed leaves its logs behind: they are Ray's, and would hide what is ours
        shutil.rmtree(self._folder / "ray", ignore_errors=True)
        self.rounds += 1

    def look(self) -> Look:
        import psutil

        gc.collect()
        me = psutil.Process()
        temporary = sum(path.is_file() for path in self._folder.rglob("*"))
        kept = len([path for path in (self._folder / "first").rglob("*") if path.is_file()])
        return Look(
            minutes=round((time.monotonic() - self._begin) / 60, 2),
            rounds=self.rounds,
            megabytes=round(me.memory_info().rss / _MEGABYTE, 1),
            descriptors=me.num_fds(),
            threads=me.num_threads(),
            children=len(me.children(recursive=True)),
            temporary=temporary - kept,
            shared=len(left_in_shared_memory(self._pids)),
        )

    def _build_killed(self, folder: Path) -> None:
        """A child is killed at a random time after it has begun; then this process makes what is
        missing, and clears up what the child left."""
        on_ray = self.rounds % ON_RAY_EVERY == ON_RAY_EVERY - 1
        process = subprocess.Popen(
            command(folder, ON_RAY if on_ray else KILLED),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._pids.add(process.pid)
        while process.poll() is None and not has_begun(folder, process.pid):
            time.sleep(0.005)
        try:
            process.wait(timeout=self._rng.uniform(0, 10 if on_ray else LONGEST))
        except subprocess.TimeoutExpired:
            kill_tree(process.pid)
            process.wait()
            self.done["kills"] += 1
            self.done["kills after a commit"] += any(folder.glob("work/commits/*.json"))
        build(folder, HERE)
        assert bytes_of(folder / "out") == self._wanted, "a rebuild has other bytes"
        left = leftovers(folder)
        assert not left, f"a rebuild leaves {left[0].relative_to(folder)} behind"

    def _read(self, folder: Path) -> None:
        write_toy_shards(folder, shards=2, each=6)
        assert not verify_shards(folder), "whole shards are called damaged"
        shards = ShardSet.open(folder)
        for index in range(len(shards)):
            shards.sample(index)
        self.done["samples read"] += len(shards)

    def _train(self, place: Path) -> None:
        from opendet.faults.toy_training import train_toy

        train_toy(place / "shards", place / "model")
        self.done["trainings"] += 1


def verdict(looks: Sequence[Look]) -> tuple[bool, str]:
    """Whether the second half is flat, and in words why or why not."""
    half = looks[len(looks) // 2 :]
    if len(half) < 3:
        return False, f"{len(looks)} looks are too few to tell"
    slope = slope_of([(look.minutes / 60, look.megabytes) for look in half])
    told = [f"memory {slope:+.1f} MB an hour, {MEGABYTES_AN_HOUR:g} allowed"]
    flat = slope <= MEGABYTES_AN_HOUR
    for what in ("descriptors", "threads", "children", "temporary", "shared"):
        values = sorted({int(getattr(look, what)) for look in half})
        grown = values[-1] > max(int(getattr(look, what)) for look in looks[: len(looks) // 2])
        flat = flat and not grown
        told.append(f"{what} {values[0]}" + (f" to {values[-1]}" if len(values) > 1 else ""))
    return flat, "; ".join(told)


def slope_of(points: Sequence[tuple[float, float]]) -> float:
    """The rise of the line of least squares, for one step of the first number."""
    x, y = np.array(points, dtype=np.float64).T
    if np.ptp(x) == 0:
        return 0.0
    return float(np.polyfit(x, y, 1)[0])


def left_in_shared_memory(pids: set[int]) -> list[str]:
    """Names of what processes with these ids have left there: their id is in them."""
    names = [one.name for one in SHARED_MEMORY.iterdir()] if SHARED_MEMORY.is_dir() else []
    return [name for name in names if pids & {int(one) for one in re.findall(r"\d{2,9}", name)}]


def soak(minutes: float, docs: Path, *, every: float) -> tuple[bool, str]:
    """Go on for so long, looking every so many minutes; whether all was flat, and in words."""
    import torch

    torch.set_num_threads(1)
    looks: list[Look] = []
    with _own_folder() as folder:
        one, end = Soak(folder), time.monotonic() + 60 * minutes
        due = time.monotonic()
        while time.monotonic() < end:
            one.round()
            if time.monotonic() >= due:
                due += 60 * every
                looks.append(one.look())
                record(docs / "soak.json", looks, one.done, minutes)
        looks.append(one.look())
        record(docs / "soak.json", looks, one.done, minutes)
    return verdict(looks)


def record(path: Path, looks: Sequence[Look], done: Counter[str], minutes: float) -> None:
    """Never in the place of a longer one's."""
    from opendet.bench.machine import machine

    if path.is_file() and json.loads(path.read_text())["asked_minutes"] > minutes:
        return
    flat, told = verdict(looks)
    whole: dict[str, Any] = {
        "asked_minutes": minutes,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "flat": flat,
        "verdict": told,
        "done": dict(sorted(done.items())),
        "looks": [asdict(look) for look in looks],
    }
    write_json_durably(path, whole)


@contextmanager
def _own_folder() -> Iterator[Path]:
    """A temporary folder in which children make theirs, too."""
    with tempfile.TemporaryDirectory(prefix="opendet-soak-") as name:
        before, os.environ["TMPDIR"] = os.environ.get("TMPDIR"), name
        tempfile.tempdir = None
        try:
            yield Path(name).resolve()
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before
            tempfile.tempdir = None


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m opendet.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=minutes, default=120.0)
    parser.add_argument("--every", type=minutes, default=1.0, help="minutes between two looks")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where soak.json lies")
    asked = parser.parse_args(arguments)
    flat, told = soak(asked.minutes, asked.docs, every=asked.every)
    sys.stdout.write(f"{told}\n")
    return 0 if flat else FAILED


if __name__ == "__main__":
    interrupt_on_sigterm()
    sys.exit(exit_code_of(main))
