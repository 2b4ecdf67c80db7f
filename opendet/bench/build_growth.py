"""How a build grows: 1,000, 10,000 and 100,000 tiny images through the stages, stub models and all.

The images are tiny so that what is measured is the engine: listing, checks, records, parts,
manifests. Each size is a build of its own, on two actors.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from opendet.bench.build_version import code_of_build
from opendet.bench.harness import Place, Row, at_most
from opendet.bench.process_tree import watch
from opendet.bench.stub_build import QUIET, TOLD, command, make_project
from opendet.bench.stub_pictures import write_pictures

SIZES = (1_000, 10_000, 100_000)
SIZE_WH = (48, 40)
SHARD_SAMPLES = 500
MOST_GROWTH = 1.25
"""Of the cost of a further image, from one step to the next."""
MOST_MEMORY_GROWTH, MOST_GIB = 1.5, 1.0
"""Of the driver."""
GIB = 1 << 30


def measure(place: Place) -> Iterator[Row]:
    """Seconds for a further thousand images, and the driver's memory."""
    code = code_of_build("opendet.bench.build_growth")
    told: dict[int, dict[str, Any]] = {}
    for count in SIZES:
        settings = {"pictures": count, "size": SIZE_WH, "shard": SHARD_SAMPLES}
        work = partial(build, place.folder / f"made-{count}", count)
        one = place.unit(settings, code, work, what=f"a build of {count} images")
        if one is not None:
            told[count] = one
    yield from rows_of(told)


def build(folder: Path, count: int) -> dict[str, Any]:
    """What a build of so many images costs, as a whole and by stage."""
    shutil.rmtree(folder, ignore_errors=True)
    drawn, project = folder / "pictures", folder / "project"
    write_pictures(drawn, count, SIZE_WH)
    make_project(project, drawn, shard_samples=SHARD_SAMPLES)
    watched = watch(command(actors=2), project, environment=QUIET)
    assert watched.code == 0, f"the build ended with {watched.code}: see {project}/said"
    told: dict[str, Any] = json.loads((project / TOLD).read_text())
    shutil.rmtree(folder)
    assert told["stages"]["shards"]["images_out"] == count
    return {
        "wall": told["ended"] - told["began"],
        "cpu": watched.cpu_seconds(told["began"], told["ended"]),
        "driver_cpu": sum(stage["driver_cpu"] for stage in told["stages"].values()),
        "driver_peak": max(stage["driver_peak"] for stage in told["stages"].values()),
        "stages": told["stages"],
    }


def rows_of(told: Mapping[int, Mapping[str, Any]]) -> Iterator[Row]:
    """Of the sizes that were measured. What every build needs to begin, of any size, is in the
    first one alone: what a further thousand costs is the difference of two."""
    for count, one in told.items():
        yield Row(
            f"{count} images, s",
            one["wall"],
            detail=f"{one['cpu']:.1f} s of CPU, of which the driver {one['driver_cpu']:.1f}; "
            f"the driver's peak {one['driver_peak'] / GIB:.2f} GiB",
        )
    steps = list(pairwise(told.items()))
    for by in ("cpu", "wall"):
        rates = [(b[by] - a[by]) / (more - few) * 1000 for (few, a), (more, b) in steps]
        for rate, ((few, _), (more, _)) in zip(rates, steps, strict=True):
            yield Row(f"a further thousand from {few} to {more}, {by} s", rate)
        for before, after in pairwise(rates):
            yield at_most(f"the later of them over the earlier, {by}", after / before, MOST_GROWTH)
    for (few, a), (more, b) in steps[-1:]:
        grown = b["driver_peak"] / a["driver_peak"]
        yield at_most(f"driver's memory, {more} over {few} images", grown, MOST_MEMORY_GROWTH)
        yield at_most(f"driver's memory at {more} images, GiB", b["driver_peak"] / GIB, MOST_GIB)
