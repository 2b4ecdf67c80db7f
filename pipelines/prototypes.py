"""Stage prototypes: a pool of what the regions that passed look like to CLIP."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from opendet.build import Build
from opendet.curate.pool import write_pool
from opendet.curate.pool_vectors import gather, passed
from opendet.curate.prototypes import pool_of
from opendet.curate.spherical_kmeans import CHUNK
from opendet.curate.vectors import read_vectors
from opendet.devices import named_device
from opendet.entry import stage_main
from opendet.manifest import PartCommit
from opendet.pools.health import measure_health, write_measures
from opendet.pools.reclustering import coarse_clusters
from opendet.ray_map import ordered_map


def main(build: Build) -> None:
    parts = build.manifest("filter").parts
    inputs = build.stamps("filter", "embed")
    make = partial(make_pool, build, parts)
    fingerprint = build.fingerprint("prototypes", build.config.prototypes)
    build.run_whole("prototypes", fingerprint, inputs=inputs, make=make)


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
    device = str(named_device(config.device))
    with TemporaryDirectory(dir=folder) as scratch:
        gathered = gather(passed(judged, config.splits), Path(scratch))
        # A GPU needs no helpers, and what is one chunk's work nobody can share.
        alone = device != "cpu" or gathered.vectors.rows <= CHUNK
        threads = config.threads if device == "cpu" else 1
        with ordered_map(0 if alone else build.actors, build.address, threads=threads) as each:
            pool = pool_of(gathered, config, each, device)
        write_pool(folder, pool)
        records = (
            one
            for part in parts
            for one in build.records("filter", [part])
            if one.split in config.splits
        )
        cluster = coarse_clusters(config.coarse, threads=threads)
        measures = measure_health(pool, vectors=gathered.vectors, cluster=cluster, records=records)
        write_measures(folder, measures)
    return asdict(pool.health)


if __name__ == "__main__":
    stage_main(main, __doc__)
