"""Stage prototypes: a pool of what the regions that passed look like to CLIP."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from opendet.build import Build
from opendet.curate.pool import write_pool
from opendet.curate.prototypes import build_pool, gather
from opendet.curate.vectors import read_vectors
from opendet.entry import stage_main
from opendet.manifest import PartCommit


def main(build: Build) -> None:
    parts = build.manifest("filter").parts
    inputs = build.stamps("filter", "embed")
    make = partial(make_pool, build, parts)
    fingerprint = build.fingerprint("prototypes", build.config.prototypes)
    build.run_whole("prototypes", fingerprint, inputs=inputs, make=make, cpus=1)


def make_pool(build: Build, parts: Sequence[PartCommit], folder: Path) -> Mapping[str, Any]:
    embedded = build.stage_folder("embed")
    judged = (
        (
            list(build.records("filter", [part])),
            read_vectors(embedded / f"{part.shard.name}.vectors.parquet"),
        )
        for part in parts
    )
    config = build.config.prototypes
    pool = build_pool(*gather(judged, config), config)
    write_pool(folder, pool)
    return asdict(pool.health)


if __name__ == "__main__":
    stage_main(main, __doc__)
