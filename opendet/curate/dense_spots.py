"""DBSCAN of the vectors of one cluster, by cosine: scikit-learn's result in bounded memory.

A vector with `min_samples` neighbours, itself included, is a core; cores that are neighbours are
of one spot, and so is whatever else has one of them for a neighbour; the rest is noise. Neighbours
are found block by block. Each block's pairs are merged at once, and pairs within one component are
never listed, so that a cluster of near-copies needs no more memory than any other.
"""

# n vectors of the cluster, D width, b vectors of a block

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from opendet.curate.unit_products import Bools, Floats, Rows, near

Labels = NDArray[np.int32]

ROWS = 512
"""Vectors that are compared with all later ones at once: each pair is looked at once."""
CELLS = 1 << 24
"""Pairs of vectors that are compared at once, at most."""
KEPT = 1 << 31
"""Pairs that are kept, at a bit each, and half of them for being the same as the others."""
PAIRS = 1 << 21
"""Pairs of neighbours that are listed at once."""
NOISE = -1
AUTO_NEIGHBOUR, AUTO_QUANTILE = 4, 0.8
AUTO_SAMPLE = 2048
"""The quantile is taken over so many vectors, evenly spread, each among all of the cluster."""
SMALLEST_EPS = 1e-6
"""Below it lies what a product of float32 vectors is wrong by."""


def dense_spots(unit: Floats, eps: float, min_samples: int, *, device: str = "cpu") -> Labels:
    """(n,) spots of (n, D) unit vectors, numbered by their first cores; -1 for noise.

    A vector that two spots reach without being a core belongs to the first of them.
    """
    within = _Neighbours(unit, 1 - max(eps, SMALLEST_EPS), device)
    core = _counts(within, len(unit)) >= min_samples
    labels = np.full(len(unit), NOISE, np.int32)
    labels[core] = _numbered(_components(within, core)[core])
    return _with_borders(within, labels)


def auto_eps(unit: Floats) -> float:
    """The 80th percentile of the cosine distance to the fourth nearest other vector, in (0, 2].

    With fewer than five vectors the farthest one counts.
    """
    count = len(unit)
    rows = np.unique(np.linspace(0, count - 1, min(count, AUTO_SAMPLE)).astype(np.int64))
    place = max(0, count - 1 - AUTO_NEIGHBOUR)
    step = max(1, CELLS // count)
    cosines = [
        np.partition(unit[rows[start : start + step]] @ unit.T, place, axis=1)[:, place]
        for start in range(0, len(rows), step)
    ]
    distance = float(np.quantile(1 - np.concatenate(cosines).astype(np.float64), AUTO_QUANTILE))
    return max(distance, SMALLEST_EPS)


class _Neighbours:
    """Who is near whom, block by block: rows from `start`, and whether each of them is near each
    vector from `start` on. Kept in bits where there is room, else compared anew each time."""

    def __init__(self, unit: Floats, cosine: float, device: str) -> None:
        self._unit, self._cosine, self._device = unit, cosine, device
        count = len(unit)
        step = max(1, min(ROWS, CELLS // count))
        self._starts = range(0, count, step)
        self._bits: dict[int, NDArray[np.uint8]] | None = {} if count**2 <= KEPT else None

    def __iter__(self) -> Iterator[tuple[int, Bools]]:
        for start in self._starts:
            if self._bits is None:
                yield start, self._compared(start)
            elif start in self._bits:
                width = len(self._unit) - start
                yield start, np.unpackbits(self._bits[start], axis=1, count=width).view(np.bool_)
            else:
                found = self._compared(start)
                self._bits[start] = np.packbits(found, axis=1)
                yield start, found

    def _compared(self, start: int) -> Bools:
        rows = self._unit[start : start + self._starts.step]
        return near(rows, self._unit[start:], self._cosine, self._device)


def _counts(within: _Neighbours, count: int) -> Rows:
    """(n,) neighbours of each vector, itself included."""
    counts = np.zeros(count, np.int64)
    for start, found in within:
        stop = start + len(found)
        counts[start:stop] += found.sum(axis=1)
        counts[stop:] += found[:, len(found) :].sum(axis=0)  # the same pairs, seen from there
    return counts


def _components(within: _Neighbours, core: Bools) -> Labels:
    """(n,) the component of each core, in any numbering; of another vector it says nothing."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    component = np.arange(len(core), dtype=np.int32)
    for start, found in within:
        step = max(1, PAIRS // found.shape[1])
        for first in range(0, len(found), step):
            some = found[first : first + step]
            place = slice(start + first, start + first + len(some))
            # Pairs that an earlier block has joined would only be listed for nothing.
            apart = some & (component[place, None] != component[None, start:])
            apart &= core[place, None] & core[None, start:]
            ours, theirs = apart.nonzero()
            if len(ours):
                ends = (component[place][ours], component[start:][theirs])
                size = int(component.max()) + 1
                pairs = coo_array((np.ones(len(ours), np.int8), ends), shape=(size, size))
                component = connected_components(pairs, directed=False)[1][component]
    return component


def _with_borders(within: _Neighbours, labels: Labels) -> Labels:
    """Whatever is no core and has one for a neighbour gets the first of their spots."""
    none = np.int32(len(labels))
    spot = np.where(labels == NOISE, none, labels)
    reached = spot.copy()
    for start, found in within:
        rows, later = slice(start, start + len(found)), slice(start, None)
        outside, outside_later = labels[rows] == NOISE, labels[later] == NOISE
        forth = np.where(found[outside], spot[later], none).min(axis=1, initial=none)
        back = np.where(found[:, outside_later], spot[rows, None], none).min(axis=0, initial=none)
        reached[rows][outside] = np.minimum(reached[rows][outside], forth)
        reached[later][outside_later] = np.minimum(reached[later][outside_later], back)
    return np.where(reached == none, NOISE, reached).astype(np.int32)


def _numbered(component: Labels) -> Labels:
    """The same components, numbered in the order of their first members."""
    _, first, which = np.unique(component, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[first.argsort()] = np.arange(len(first))
    return rank[which]
