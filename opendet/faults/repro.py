"""`dvc repro` killed at random, with every process that it began."""

import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from opendet.bench.process_tree import kill_tree
from opendet.faults.killed import bytes_of
from opendet.faults.rows import Effort, Shown, Tally
from opendet.faults.toy_build import BATCH, ONCE, SHARD_SAMPLES

STAGES = ("first", "second")
PROJECT = """
stages:
  first:
    cmd: mkdir -p first && python -m opendet.faults.toy_build first --seconds 0.05
    outs: [first/out]
  second:
    cmd: mkdir -p second && python -m opendet.faults.toy_build second --seconds 0.05
    deps: [first/out]
    outs: [second/out]
"""
KILLS_A_TRY = 2


def killed_repros(effort: Effort) -> Shown:
    """Kill `dvc repro` of a project of two stages until a run of it ends well."""
    if shutil.which("dvc", path=_path()) is None:
        return Shown(0, 0, "", unmeasured="dvc is not installed: pip install dvc")
    whole = _project(effort.folder / "undisturbed")
    assert _repro(whole).wait() == 0, "the undisturbed run must end well"
    lock, wanted = (whole / "dvc.lock").read_bytes(), _outputs(whole)
    tally, kills, again, emptied = Tally(), 0, 0, 0
    for one in effort.at_once(50, partial(_killed_project, effort.folder, lock, wanted)):
        kills, again, emptied = kills + one.kills, again + one.again, emptied + one.emptied
        tally.add(one.problem)
    tally.require(kills, tally.tries, "kills")
    each = SHARD_SAMPLES + BATCH
    return tally.shown(
        f"{kills} kills; {again} samples seen again, a shard is seen {each} times; {emptied} times "
        "DVC had left its own lock file empty, which was removed, as `make repro` does"
    )


@dataclass(frozen=True, slots=True)
class _Killed:
    """A `dvc repro` that was killed and begun again until it ended."""

    kills: int
    again: int
    """Samples that were looked at more often than an undisturbed run looks at them."""
    emptied: int
    """How often DVC's own lock file was empty."""
    problem: str


def _killed_project(place: Path, lock: bytes, wanted: dict[str, bytes], number: int) -> _Killed:
    project = _project(place / str(number))
    kills, emptied = _until_done(project, random.Random(number))
    again = sum(_redone(project / stage) for stage in STAGES)
    problem = "" if (project / "dvc.lock").read_bytes() == lock else "another dvc.lock"
    problem = problem or ("" if _outputs(project) == wanted else "other bytes")
    if again > kills * (SHARD_SAMPLES + BATCH):  # the failing sample's batch is seen twice
        problem = f"{again} samples redone for {kills} kills"
    shutil.rmtree(project)
    return _Killed(kills, again, emptied, f"try {number}: {problem}" if problem else "")


def _project(folder: Path) -> Path:
    folder.mkdir()
    (folder / "dvc.yaml").write_text(PROJECT)
    subprocess.run(["dvc", "init", "--no-scm", "-q"], cwd=folder, env=_environment(), check=True)
    return folder


def _until_done(project: Path, rng: random.Random) -> tuple[int, int]:
    """Kill until a run ends well; how often, and how often DVC's own lock file was left empty."""
    kills = emptied = 0
    while True:
        emptied += _remove_empty_lock(project / ".dvc/tmp/rwlock")
        process = _repro(project)
        try:
            code = process.wait(timeout=rng.uniform(0.5, 6.0) if kills < KILLS_A_TRY else None)
        except subprocess.TimeoutExpired:
            kill_tree(process.pid)
            process.wait()
            kills += 1
            continue
        assert code == 0, f"dvc repro ended with {code}"
        return kills, emptied


def _remove_empty_lock(path: Path) -> bool:
    """DVC empties the file before it writes it, and one that it finds empty ends it."""
    if not path.is_file() or path.stat().st_size:
        return False
    path.unlink()
    return True


def _repro(project: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        ["dvc", "repro", "-q"],
        cwd=project,
        env=_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _redone(stage: Path) -> int:
    """How many more samples were seen than an undisturbed run sees."""
    return len((stage / "calls").read_text().splitlines()) - ONCE


def _outputs(project: Path) -> dict[str, bytes]:
    return {f"{s}/{n}": c for s in STAGES for n, c in bytes_of(project / s / "out").items()}


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": _path(), "DVC_NO_ANALYTICS": "1"}


def _path() -> str:
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
