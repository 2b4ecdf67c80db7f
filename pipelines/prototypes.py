"""Stage prototypes: a pool of what the regions that passed look like to CLIP."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from opendet.build import Build, stamps_of
from opendet.curate.pool import write_pool
from opendet.curate.prototypes import build_pool, gather
from opendet.curate.vectors import read_vectors
from opendet.entry import stage_main
from opendet.schema import read_records


def main(build: Build) -> None:
    parts = build.manifest("filter").parts
    inputs = stamps_of(parts) | stamps_of(build.manifest("embed").parts)
    make = partial(make_pool, build, [part.shard.name for part in parts])
    fingerprint = build.fingerprint("prototypes", build.config.prototypes)
    build.run_whole("prototypes", fingerprint, inputs=inputs, make=make, cpus=1)


def make_pool(build: Build, shards: list[str], folder: Path) -> Mapping[str, Any]:
    filtered, embedded = build.stage_folder("filter"), build.stage_folder("embed")
    parts = (
        (
            read_records(filtered / f"{shard}.parquet"),
            read_vectors(embedded / f"{shard}.vectors.parquet"),
        )
        for shard in shards
    )
    config = build.config.prototypes
    pool = build_pool(*gather(parts, config), config)
    write_pool(folder, pool)
    return asdict(pool.health)


if __name__ == "__main__":
    stage_main(main, __doc__)
