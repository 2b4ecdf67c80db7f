"""A sample of a pool's vectors, clustered anew as its coarse level was."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from opendet.curate.spherical_kmeans import spherical_kmeans
from opendet.curate.vector_file import VectorFile
from opendet.ordered_map import map_on_threads
from opendet.pools.purity import Labels
from opendet.pools.stability import Cluster, Floats


def coarse_clusters(clusters: int, *, restarts: int = 1, threads: int = 1) -> Cluster:
    """Spherical K-Means on this process's CPU; the sample is small whatever the pool is.

    A pool takes the tightest of several attempts; one shows nearly the same agreement of seeds, and
    takes less time.
    """
    map_chunks = partial(map_on_threads, threads=threads)

    def labels(rows: Floats, seed: int) -> Labels:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "sample.f16"
            rows.astype(np.float16).tofile(path)
            vectors = VectorFile(path, *rows.shape)
            found = spherical_kmeans(
                vectors, clusters, seed=seed, restarts=restarts, map_chunks=map_chunks
            )
        return found.labels

    return labels
