"""The clusters of a pool: coarse ones by spherical K-Means, and the dense spots inside each.

To come to a wanted number of dense spots, the largest are kept; where there are too few, they are
looked for again in a smaller neighbourhood.
"""

# N vectors, n of one cluster, D width, K coarse clusters, P fine ones

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from opendet.curate.dense_spots import NOISE, auto_eps, dense_spots
from opendet.curate.spherical_kmeans import spherical_kmeans
from opendet.curate.unit_products import Floats, Rows
from opendet.curate.vector_file import VectorFile
from opendet.ordered_map import OrderedMap

Eps = float | Literal["auto"]
Labels = NDArray[np.int32]

SHRINK = 0.9
MOST_ROUNDS = 5
"""Times that `eps` shrinks."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Some of the vectors, of either level."""

    centre: Floats
    """(D,) unit: their mean direction."""
    medoid: int
    """Row of the one nearest to it; the first of equals."""
    size: int
    parent: int
    """The coarse cluster that they lie in; -1: it is one itself."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """Both levels, and which of them each vector is in."""

    coarse: tuple[Cluster, ...]
    fine: tuple[Cluster, ...]
    coarse_of: Labels
    """(N,)"""
    fine_of: Labels
    """(N,); -1 for noise, and for spots that were not kept."""
    noise: int
    """Vectors in no dense spot."""
    found: int
    """Dense spots before the largest were kept."""
    eps: float
    """As used in the end; of `auto` the median of the coarse clusters'."""
    rounds: int
    """Times that `eps` shrank."""


@dataclass(frozen=True, slots=True)
class _Inside:
    """What one coarse cluster holds."""

    whole: Cluster
    labels: Labels
    """(n,) in the order of its rows."""
    spots: tuple[Cluster, ...]
    eps: float


def cluster(
    vectors: VectorFile,
    *,
    coarse: int,
    restarts: int,
    fine: int | None,
    eps: Eps,
    min_samples: int,
    seed: int,
    map_chunks: OrderedMap,
    device: str = "cpu",
) -> Clusters:
    """Both levels of N vectors; the same arguments give the same bytes, however work is shared.

    BLAS must be limited to one thread by the caller: several add up in any order.
    """
    clustering = spherical_kmeans(
        vectors, coarse, seed=seed, restarts=restarts, map_chunks=map_chunks, device=device
    )
    rows = rows_by_label(clustering.labels)
    look = partial(_look_inside, vectors, eps, min_samples, device)
    inside, rounds = _enough(
        lambda scale: list(map_chunks(partial(look, scale), list(enumerate(rows)))), fine
    )
    return _joined(inside, rows, clustering.labels, fine, rounds)


def rows_by_label(labels: Labels) -> list[Rows]:
    """For each label from 0 its rows in their order."""
    ends = np.bincount(labels).cumsum()[:-1]
    return np.split(labels.argsort(kind="stable"), ends)


def _enough(look: Callable[[float], list[_Inside]], fine: int | None) -> tuple[list[_Inside], int]:
    """The first round with as many spots as are wanted, else the one with the most."""
    best, most = (look(1.0), 0), MOST_ROUNDS if fine else 0
    for number in range(1, most + 1):
        if _spots(best[0]) >= (fine or 0):
            break
        tried = look(SHRINK**number)
        if _spots(tried) > _spots(best[0]):
            best = tried, number
    return best


def _spots(inside: Sequence[_Inside]) -> int:
    return sum(len(one.spots) for one in inside)


def _look_inside(
    vectors: VectorFile,
    eps: Eps,
    min_samples: int,
    device: str,
    scale: float,
    numbered: tuple[int, Rows],
) -> _Inside:
    number, rows = numbered
    unit = vectors.read(rows)
    used = scale * (auto_eps(unit) if eps == "auto" else eps)
    labels = dense_spots(unit, used, min_samples, device=device)
    spots = rows_by_label(labels[labels != NOISE])
    inside = np.flatnonzero(labels != NOISE)
    return _Inside(
        _cluster(unit, rows, -1),
        labels,
        tuple(
            _cluster(unit[inside[spot]], rows[inside[spot]], number) for spot in spots if len(spot)
        ),
        used,
    )


def _cluster(unit: Floats, rows: Rows, parent: int) -> Cluster:
    """Vectors that cancel out are stood for by the first."""
    total = unit.sum(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(total))
    centre = unit[0] if length < 1e-6 * len(unit) else (total / length).astype(np.float32)
    return Cluster(centre, int(rows[(unit @ centre).argmax()]), len(rows), parent)


def _joined(
    inside: Sequence[_Inside],
    rows: Sequence[Rows],
    coarse_of: Labels,
    fine: int | None,
    rounds: int,
) -> Clusters:
    """The largest spots, of equal ones those that come first, in the order of their parents."""
    spots = [spot for one in inside for spot in one.spots]
    by_size = sorted(range(len(spots)), key=lambda place: (-spots[place].size, place))
    kept = np.sort(np.array(by_size[:fine], np.int64))
    place_of = np.full(len(spots) + 1, NOISE, np.int32)  # the last one stands for noise
    place_of[kept] = np.arange(len(kept))
    fine_of = np.full(len(coarse_of), NOISE, np.int32)
    first = 0
    for one, own in zip(inside, rows, strict=True):
        fine_of[own] = place_of[np.where(one.labels == NOISE, len(spots), one.labels + first)]
        first += len(one.spots)
    return Clusters(
        tuple(one.whole for one in inside),
        tuple(spots[place] for place in kept),
        coarse_of,
        fine_of,
        sum(int((one.labels == NOISE).sum()) for one in inside),
        len(spots),
        median(one.eps for one in inside),
        rounds,
    )
