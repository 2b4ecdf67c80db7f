"""Builds that are killed at random, and worker by worker."""

import random
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from opendet.bench.process_tree import kill_tree
from opendet.faults.peer_kills import killed_peer
from opendet.faults.rows import Effort, Shown, Tally
from opendet.faults.toy_build import ONCE, SHARD_SAMPLES, SHARDS, Settings, build, command

HERE = Settings()
LOCAL, ON_RAY = Settings(seconds=0.03), Settings(actors=2, seconds=0.2)
MANY_SHORT = Settings(actors=2, seconds=0.05, shards=60)
"""Of shards that take less time than passes between two kills of a worker."""
KILL_SECONDS = 0.5
"""Between two of them."""
RAY_EACH = 10
"""One build of so many runs on Ray, which takes seconds to begin."""
PEER_TRIES = {"ShardWriter": 20, "Ray Data": 4, "Ray Data with its checkpoint": 4}
"""Of the full row: a Ray Data pipeline takes seconds to begin, three times a try."""


def random_kills(effort: Effort) -> Shown:
    """Kill a build's whole process group at random times, again and again, until one run ends."""
    wanted = undisturbed(effort.folder)
    tally, kills, again, most = Tally(), 0, 0, 0
    for one in effort.at_once(200, partial(_killed_build, effort.folder, wanted)):
        kills, again, most = kills + one.kills, again + one.again, most + one.in_flight
        tally.add(one.problem)
    tally.require(kills, tally.tries, "kills")
    peers = "; ".join(killed_peer(effort, kind, tries) for kind, tries in PEER_TRIES.items())
    return tally.shown(
        f"{kills} kills; {again} samples seen again, at most {most} were in flight; one build of "
        f"{RAY_EACH} on Ray",
        peers,
    )


def worker_kills(effort: Effort) -> Shown:
    """Kill a random worker of a build on Ray every half second, until so many were killed."""
    import psutil

    wanted = undisturbed(effort.folder, replace(MANY_SHORT, actors=0, seconds=0))
    tally, kills, rng = Tally(), 0, random.Random(0)
    budget = max(10, round(100 * effort.share))
    for number in effort.tries(50, least=budget):
        if kills >= budget:
            break
        folder = effort.folder / str(number)
        folder.mkdir()
        process = _start(folder, MANY_SHORT)
        parent = psutil.Process(process.pid)
        while process.poll() is None:
            time.sleep(KILL_SECONDS)
            workers = _workers_of(parent)
            if workers and kills < budget:
                kills += _killed(rng.choice(workers))
        tally.add(_after_workers(process.returncode, folder, wanted))
        shutil.rmtree(folder)
    tally.require(kills, budget, "workers killed")
    return tally.shown(f"{kills} workers killed in {tally.tries} builds")


def undisturbed(folder: Path, settings: Settings = HERE) -> dict[str, bytes]:
    """What a build that nobody disturbs publishes."""
    place = folder / "undisturbed"
    place.mkdir()
    build(place, settings)
    return bytes_of(place / "out")


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder and its content; nothing where there is none."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def leftovers(folder: Path) -> list[Path]:
    """What attempts have left behind."""
    found = [*folder.glob("work/attempts/*"), *folder.glob("work/publish-*")]
    return [*found, *folder.rglob(".*")]


@dataclass(frozen=True, slots=True)
class _Disturbed:
    """A build that was killed and begun again until it ended."""

    kills: int
    again: int
    """Samples that were looked at more often than once."""
    in_flight: int
    """Samples that workers held when they were killed, at most."""
    problem: str


def _killed_build(place: Path, wanted: dict[str, bytes], number: int) -> _Disturbed:
    rng, folder = random.Random(number), place / str(number)
    on_ray = number % RAY_EACH == 0
    kills = _until_done(folder, ON_RAY if on_ray else LOCAL, rng)
    in_flight = kills * (ON_RAY.actors if on_ray else 1) * SHARD_SAMPLES
    again = len((folder / "calls").read_text().splitlines()) - ONCE
    same = bytes_of(folder / "out") == wanted
    problem = "" if same else f"try {number}: other bytes"
    if again > in_flight * ONCE // (SHARDS * SHARD_SAMPLES):
        problem = f"try {number}: {again} samples redone, {in_flight} were in flight"
    shutil.rmtree(folder)
    return _Disturbed(kills, again, in_flight, problem)


def _until_done(folder: Path, settings: Settings, rng: random.Random) -> int:
    """Build and kill until a run ends well; how many were killed."""
    folder.mkdir()
    kills, longest = 0, 6.0 if settings.actors else 1.2
    while True:
        process = _start(folder, settings)
        while process.poll() is None and not has_begun(folder, process.pid):
            time.sleep(0.005)  # while it imports, nothing can be lost
        try:
            code = process.wait(timeout=rng.uniform(0, longest))
        except subprocess.TimeoutExpired:
            kill_tree(process.pid)
            process.wait()
            kills, longest = kills + 1, longest * 1.1
            continue
        assert code == 0, f"a run ended with {code}"
        return kills


def has_begun(folder: Path, pid: int) -> bool:
    """Whether the process holds the folder's lock, in which it writes its number."""
    lock = folder / "lock"
    return lock.exists() and lock.read_text() == str(pid)


def _start(folder: Path, settings: Settings) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command(folder, settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _after_workers(code: int | None, folder: Path, wanted: dict[str, bytes]) -> str:
    if code != 0:
        return f"the run ended with {code}"
    if bytes_of(folder / "out") != wanted:
        return "other bytes"
    left = leftovers(folder)
    return f"left behind: {left[0].name}" if left else ""


def _workers_of(process: Any) -> list[Any]:
    """The actors' processes below one that may be gone."""
    import psutil

    try:
        children = process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [child for child in children if "ShardActor" in _title(child)]


def _killed(process: Any) -> bool:
    """Whether it was there to be killed."""
    import psutil

    try:
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def _title(process: Any) -> str:
    import psutil

    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
