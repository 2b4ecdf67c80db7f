"""One run of the prototype pool's clustering at full size, ours or scikit-learn's.

Both get the same vectors: ours from a file of float16, theirs as float32 in memory, read before
the clock starts. Theirs is KMeans with one k-means++ start and at most 20 iterations, then DBSCAN
by cosine in each cluster. Each run has a process of its own, whose memory is its own too.
"""

import hashlib
import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opendet.bench.pool_world import write_vectors
from opendet.curate.pool_clusters import Clusters, rows_by_label
from opendet.curate.prototypes import PrototypesConfig, clusters_of
from opendet.curate.spherical_kmeans import CHUNK
from opendet.curate.vector_file import VectorFile
from opendet.ordered_map import map_on_threads

THREADS, ITERATIONS = 2, 20


@dataclass(frozen=True, slots=True)
class Work:
    """What is clustered, and into how much."""

    compared: int = 1_000_000
    """Vectors that scikit-learn clusters too."""
    table: tuple[int, ...] = (250_000, 500_000, 1_000_000, 2_000_000, 4_000_000)
    width: int = 512
    things: int = 4000
    coarse: int = 1203
    eps: float = 0.1
    min_samples: int = 4
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """What a run came to."""

    seconds: float
    cpu_seconds: float
    inertia: float
    """Sum of squared distances from the clusters' means, for each vector."""
    gigabytes: float
    """The most memory that its process held, pages of the file included."""
    spots: int
    noise: float
    digest: str
    """Of all that was found."""
    kmeans_seconds: float = 0.0
    """Of theirs."""


def ours(work: Work, folder: Path, count: int) -> Told:
    """The stage's K-Means and DBSCAN on two threads; begun once, as theirs is, not four times."""
    from threadpoolctl import threadpool_limits

    config = PrototypesConfig(
        coarse=work.coarse, restarts=1, eps=work.eps, min_samples=work.min_samples, seed=work.seed
    )
    with TemporaryDirectory(dir=folder) as temporary, threadpool_limits(limits=1):
        vectors = _vectors(work, Path(temporary), count)
        start, worked = time.perf_counter(), time.process_time()
        found = clusters_of(vectors, config, partial(map_on_threads, threads=THREADS))
        seconds, worked = time.perf_counter() - start, time.process_time() - worked
        return Told(
            seconds=seconds,
            cpu_seconds=worked,
            inertia=inertia(vectors, found.coarse_of),
            gigabytes=_peak_gigabytes(),
            spots=len(found.fine),
            noise=found.noise / count,
            digest=digest_of(found),
        )


def scikit_learn(work: Work, folder: Path, count: int) -> Told:
    from sklearn.cluster import DBSCAN, KMeans
    from threadpoolctl import threadpool_limits

    with TemporaryDirectory(dir=folder) as temporary, threadpool_limits(limits=THREADS):
        vectors = _vectors(work, Path(temporary), count)
        unit = vectors.read(np.arange(count))
        kmeans = KMeans(work.coarse, n_init=1, max_iter=ITERATIONS, random_state=work.seed)
        dbscan = DBSCAN(eps=work.eps, min_samples=work.min_samples, metric="cosine")
        start, worked = time.perf_counter(), time.process_time()
        labels = kmeans.fit_predict(unit)
        kmeans_seconds = time.perf_counter() - start
        spots = [dbscan.fit_predict(unit[rows]) for rows in rows_by_label(labels) if len(rows)]
        seconds, worked = time.perf_counter() - start, time.process_time() - worked
        return Told(
            seconds=seconds,
            cpu_seconds=worked,
            inertia=inertia(vectors, labels),
            gigabytes=_peak_gigabytes(),
            spots=sum(int(own.max()) + 1 for own in spots),
            noise=sum(int((own < 0).sum()) for own in spots) / count,
            digest=hashlib.sha256(labels.tobytes()).hexdigest()[:16],
            kmeans_seconds=kmeans_seconds,
        )


def inertia(vectors: VectorFile, labels: NDArray[np.int32]) -> float:
    """Mean squared distance from the clusters' means: what scikit-learn's KMeans minimises."""
    from scipy.sparse import csc_array

    sums = np.zeros((int(labels.max()) + 1, vectors.width))
    for start in range(0, vectors.rows, CHUNK):
        own = labels[start : start + CHUNK]
        ones, places = np.ones(len(own), np.float32), np.arange(len(own) + 1)
        belongs = csc_array((ones, own, places), shape=(len(sums), len(own)))
        sums += belongs @ vectors.read(np.arange(start, start + len(own)))
    sizes = np.bincount(labels, minlength=len(sums))
    within = np.square(sums).sum(axis=1)[sizes > 0] / sizes[sizes > 0]
    return 1 - float(within.sum()) / vectors.rows


def digest_of(found: Clusters) -> str:
    digest = hashlib.sha256(found.coarse_of.tobytes() + found.fine_of.tobytes())
    for one in (*found.coarse, *found.fine):
        digest.update(one.centre.tobytes())
        digest.update(f"{one.medoid} {one.size} {one.parent} ".encode())
    return digest.hexdigest()[:16]


def alone(
    run: Callable[[Work, Path, int], Told], work: Work, folder: Path, count: int
) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return asdict(process.submit(run, work, folder, count).result())


def _vectors(work: Work, folder: Path, count: int) -> VectorFile:
    path = folder / "vectors.f16"
    return write_vectors(path, count, width=work.width, things=work.things, seed=work.seed)


def _peak_gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux counts in KiB
