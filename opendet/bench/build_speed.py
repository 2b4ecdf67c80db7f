"""The whole build with stub models, against the same functions in plain Ray Data.

Both read the same images, call the same functions, and have the same Ray of two CPUs. Each run is
a process of its own that begins with nothing; the start of its Ray is told apart. Ours does more
(`BESIDE`) and can be killed at any time; what plain Ray Data writes is neither durable nor ever the
same.
"""

import json
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from opendet.bench import plain_ray, stub_build
from opendet.bench.build_version import code_of_build
from opendet.bench.harness import Place, Row, at_least
from opendet.bench.process_tree import watch
from opendet.bench.stub_pictures import write_pictures

PICTURES, SIZE_WH = 1000, (640, 480)
SHARD_SAMPLES = 125
ROUNDS = 3
GOAL = 1.0
BESIDE = (
    "fsync of each part and commit, sha256 of each file and of each image whenever it is read, a "
    "ledger of each stage, twins found by their looks, indexes, the same bytes each time"
)

Cost = dict[str, float]
"""Of one run: seconds of wall clock and CPU, and how long its Ray took to start."""


def measure(place: Place) -> Iterator[Row]:
    """Samples a second of ours over theirs, by CPU and wall time."""
    code = code_of_build("opendet.bench.build_speed")
    settings = {"pictures": PICTURES, "size": SIZE_WH, "shard": SHARD_SAMPLES, "rounds": ROUNDS}
    work = partial(
        costs, place.folder / "made", PICTURES, SIZE_WH, shard_samples=SHARD_SAMPLES, rounds=ROUNDS
    )
    told: dict[str, list[Cost]] | None = place.unit(settings, code, work, what="build and Ray Data")
    if told is not None:
        yield from rows_of(told)


def costs(
    folder: Path, pictures: int, size_wh: tuple[int, int], *, shard_samples: int, rounds: int
) -> dict[str, list[Cost]]:
    """What each arm cost in each round, on images that are drawn into the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    drawn = folder / "pictures"
    write_pictures(drawn, pictures, size_wh)
    arms = {
        "ours": partial(_ours, drawn, shard_samples=shard_samples),
        "theirs": partial(_theirs, drawn, shard_samples=shard_samples, handing_on=False),
        "handing_on": partial(_theirs, drawn, shard_samples=shard_samples, handing_on=True),
    }
    told: dict[str, list[Cost]] = {name: [] for name in arms}
    try:
        for turn in range(rounds):
            for name in list(arms)[:: -1 if turn % 2 else 1]:
                run = folder / f"{name}-{turn}"
                told[name].append(arms[name](run))
                shutil.rmtree(run)
    finally:
        shutil.rmtree(folder)
    return told


def _ours(pictures: Path, run: Path, *, shard_samples: int) -> Cost:
    stub_build.make_project(run, pictures, shard_samples=shard_samples)
    return _cost(stub_build.command(actors=2), run, run / "datasets" / stub_build.NAME / "shards")


def _theirs(pictures: Path, run: Path, *, shard_samples: int, handing_on: bool) -> Cost:
    run.mkdir()
    command = plain_ray.command(pictures, shard_samples=shard_samples, handing_on=handing_on)
    return _cost(command, run, run / "out")


def _cost(command: Sequence[str], run: Path, shards: Path) -> Cost:
    watched = watch(command, run, environment=stub_build.QUIET)
    assert watched.code == 0, f"{command} ended with {watched.code}: see {run}/said"
    told = json.loads((run / stub_build.TOLD).read_text())
    return {
        "wall": told["ended"] - told["began"],
        "cpu": watched.cpu_seconds(told["began"], told["ended"]),
        "start": told["began"] - told["started"],
        "samples": float(sum(_samples_in(path) for path in shards.glob("*.tar"))),
    }


def _samples_in(shard: Path) -> int:
    with tarfile.open(shard) as tar:
        return sum(name.endswith(".json") for name in tar.getnames())


def rows_of(told: Mapping[str, Sequence[Cost]]) -> Iterator[Row]:
    """By CPU time, which others on the machine disturb least, and by the clock."""
    for arm, what in (("theirs", "the same functions"), ("handing_on", "handing pixels on")):
        for by, unit in (("cpu", "CPU-second"), ("wall", "second")):
            ratios = [
                _rate(ours, by) / _rate(theirs, by)
                for ours, theirs in zip(told["ours"], told[arm], strict=True)
            ]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds"
            yield at_least(
                f"samples/{unit}, ours / Ray Data, {what}",
                median(ratios),
                GOAL,
                f"{_median(told['ours'], by):.1f} against {_median(told[arm], by):.1f} s for "
                f"{told['ours'][0]['samples']:.0f} samples; {spread}",
            )
    yield Row("ours beside the same functions", "exactly once", detail=BESIDE)
    starts = " and ".join(f"{_median(costs, 'start'):.1f} s" for costs in told.values())
    yield Row("start of Ray and imports, not counted", starts, detail=", ".join(told))


def _rate(cost: Cost, by: str) -> float:
    return cost["samples"] / cost[by]


def _median(costs: Sequence[Cost], of: str) -> float:
    return median(cost[of] for cost in costs)
