"""What it costs that a build was killed half-way: the stub build, killed once and run again.

Three runs a round, each from the moment that its Ray is up, for a build that is begun needs that in
any case: one that nobody disturbs, one that is killed with its process group when half of all parts
are committed and run again, and one more that finds nothing to do.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from opendet.bench.build_version import code_of_build
from opendet.bench.harness import Place, Row, at_most
from opendet.bench.process_tree import Watched, watch
from opendet.bench.stub_build import NAME, QUIET, TOLD, command, make_project
from opendet.bench.stub_pictures import write_pictures
from opendet.faults.killed import bytes_of

PICTURES, SIZE_WH = 4000, (640, 480)
SHARD_SAMPLES = 50
ROUNDS = 3
GOAL = 0.1

Cost = dict[str, float]
"""Seconds of wall clock and CPU."""


def measure(place: Place) -> Iterator[Row]:
    """What a kill and a run for nothing cost, as shares of an undisturbed build."""
    code = code_of_build("opendet.bench.build_resume")
    settings = {"pictures": PICTURES, "size": SIZE_WH, "shard": SHARD_SAMPLES, "rounds": ROUNDS}
    work = partial(
        costs, place.folder / "made", PICTURES, SIZE_WH, shard_samples=SHARD_SAMPLES, rounds=ROUNDS
    )
    told: list[dict[str, Any]] | None = place.unit(settings, code, work, what="killed builds")
    if told is not None:
        yield from rows_of(told)


def costs(
    folder: Path, pictures: int, size_wh: tuple[int, int], *, shard_samples: int, rounds: int
) -> list[dict[str, Any]]:
    """Each round's costs of the undisturbed run, the killed one, the next one, and the idle one."""
    shutil.rmtree(folder, ignore_errors=True)
    drawn = folder / "pictures"
    write_pictures(drawn, pictures, size_wh)
    told = []
    try:
        for turn in range(rounds):
            whole, broken = folder / f"whole-{turn}", folder / f"broken-{turn}"
            for project in (whole, broken):
                make_project(project, drawn, shard_samples=shard_samples)
            told.append(_round(whole, broken))
            shutil.rmtree(whole)
            shutil.rmtree(broken)
    finally:
        shutil.rmtree(folder)
    return told


def _round(whole: Path, broken: Path) -> dict[str, Any]:
    undisturbed = _run(whole)
    half = _parts(whole) // 2
    killed = watch(
        command(actors=2), broken, environment=QUIET, kill_when=lambda: _parts(broken) >= half
    )
    assert killed.code < 0, "it had ended before it could be killed"
    before, parts = _cost(killed, broken, killed.ended), _parts(broken)
    again = _run(broken)
    stages = json.loads((broken / TOLD).read_text())["stages"].values()
    return {
        "undisturbed": undisturbed,
        "killed": before,
        "again": again,
        "idle": _run(broken),
        "parts": _parts(whole),
        "kept": parts,
        "until_new": sum(stage["seconds"] for stage in stages if not stage["shards_made"]),
        "same": _published(whole) == _published(broken),
    }


def _run(project: Path) -> Cost:
    watched = watch(command(actors=2), project, environment=QUIET)
    assert watched.code == 0, f"the build ended with {watched.code}: see {project}/said"
    return _cost(watched, project, json.loads((project / TOLD).read_text())["ended"])


def _cost(watched: Watched, project: Path, ended: float) -> Cost:
    began = json.loads((project / TOLD).read_text())["began"]
    return {"wall": ended - began, "cpu": watched.cpu_seconds(began, ended)}


def _parts(project: Path) -> int:
    """How many parts of all stages are committed."""
    return sum(1 for _ in (project / ".opendet" / NAME).glob("*/*/commits/*.json"))


def _published(project: Path) -> dict[str, bytes]:
    """Byte for byte; metrics tell the time."""
    files = bytes_of(project / "datasets" / NAME)
    return {name: content for name, content in files.items() if not name.startswith("metrics/")}


def rows_of(told: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Medians over the rounds."""
    first = told[0]
    kept = f"killed with {first['kept']} of {first['parts']} parts committed"
    for by in ("cpu", "wall"):
        whole = [one["undisturbed"][by] for one in told]
        lost = [(one["killed"][by] + one["again"][by]) / one["undisturbed"][by] - 1 for one in told]
        idle = [one["idle"][by] / one["undisturbed"][by] for one in told]
        of = f"of {median(whole):.1f} s"
        yield at_most(f"killed and run again, extra {by}", median(lost), GOAL, f"{of}; {kept}")
        yield at_most(f"run again with nothing to do, {by}", median(idle), GOAL, of)
    waits = [one["until_new"] / one["undisturbed"]["wall"] for one in told]
    yield at_most(
        "until the first new shard, wall", median(waits), GOAL, "finished stages, looked through"
    )
    same = all(one["same"] for one in told)
    yield Row("the same bytes as undisturbed", "yes" if same else "no", "yes", same)
