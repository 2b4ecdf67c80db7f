"""Whether clusters are a property of the vectors, or of the seed."""

# N vectors, D width

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opendet.pools.purity import Labels

Floats = NDArray[np.floating[Any]]
Cluster = Callable[[Floats, int], Labels]
"""(N, D) vectors and a seed -> (N,) the cluster of each."""


@dataclass(frozen=True, slots=True)
class Stability:
    """The adjusted Rand index of pairs of seeds: 1 for equal clusters, about 0 for chance."""

    mean: float
    lowest: float
    seeds: int
    vectors: int
    """How many were clustered, each seed's the same."""


def seed_stability(
    rows: Floats, cluster: Cluster, *, seeds: Sequence[int] = (0, 1, 2)
) -> Stability:
    """Cluster (N, D) vectors from each seed anew, and compare every two."""
    from sklearn.metrics import adjusted_rand_score
    from threadpoolctl import threadpool_limits

    assert len(seeds) > 1, seeds
    with threadpool_limits(limits=1):  # several threads of BLAS add up in any order
        labels = [cluster(rows, seed) for seed in seeds]
    scores = [float(adjusted_rand_score(one, other)) for one, other in combinations(labels, 2)]
    return Stability(fmean(scores), min(scores), len(seeds), len(rows))


def even_rows(count: int, most: int) -> NDArray[np.int64]:
    """At most `most` of the rows 0 to `count`, at even distances and in their order."""
    size = min(count, most)
    rows: NDArray[np.int64] = np.arange(size, dtype=np.int64) * count // max(size, 1)
    return rows
