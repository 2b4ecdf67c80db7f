"""Spherical K-Means over more vectors than fit in memory; one seed gives the same bytes.

The centres are sown by k-means++ in a small sample. Lloyd's iteration settles them there, goes on
in samples twice as large, each one within the next, and ends with a few passes over everything: a
centre that was settled in half of the vectors has little way left to go in all of them. A pass is
cut into chunks that hang on the vectors alone. What chunks add up to is added in their order, so
that threads, Ray workers and one process alone agree to the last bit.
"""

# N vectors, D width, K centres, m vectors of a sample

import logging
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from opendet.curate.unit_products import Assigned, Floats, Rows, assign, cosines
from opendet.curate.vector_file import VectorFile
from opendet.ordered_map import OrderedMap

log = logging.getLogger(__name__)

CHUNK = 16384
"""Vectors that one worker takes at once."""
SMALLEST_SAMPLE = 8192
VECTORS_PER_CENTRE = 48
"""In the sample where the centres are sown."""
TURNS = 8
"""Centres that are drawn for at once. It costs a draw's freshness and makes the products fast."""
REHOMED = (0.1, 0.1, 0.05, 0.05, 0.025, 0.025)
"""Shares of the centres that are moved at once."""
REHOMED_UP_TO = 250_000
"""Vectors of a sample in which they are: what is rare shows in larger ones, at their price."""
SAME = 1e-6
"""Vectors whose cosine is nearer to 1 than this are one vector to float32."""


@dataclass(frozen=True, slots=True)
class Settling:
    """When Lloyd's iteration ends, in each sample."""

    most: int = 20
    gain: float = 1e-3
    """It ends where the inertia falls by less than this share."""


BRIEFLY = Settling(most=3)


@dataclass(frozen=True, slots=True)
class Clustering:
    """Which centre each vector is nearest to."""

    labels: NDArray[np.int32]
    """(N,) in 0..K-1, none of them without a vector."""
    inertia: float
    """Sum of 1 - cosine of each vector with the centre that it was given to."""


@dataclass(frozen=True, slots=True)
class _Pass:
    """One look at all vectors of a sample."""

    labels: NDArray[np.int32]
    cosines: Floats
    sums: NDArray[np.float64]
    """(K, D)"""

    @property
    def inertia(self) -> float:
        return float((1 - self.cosines.astype(np.float64)).sum())


@dataclass(frozen=True, slots=True)
class _Settled:
    """What Lloyd's iteration came to."""

    centres: Floats
    """(K, D), moved after the last look."""
    seen: _Pass


def spherical_kmeans(
    vectors: VectorFile,
    clusters: int,
    *,
    seed: int,
    restarts: int,
    map_chunks: OrderedMap,
    device: str = "cpu",
    settling: Settling | None = None,
) -> Clustering:
    """Cluster N vectors; into fewer clusters where there are fewer distinct ones.

    Of `restarts` attempts in the smallest sample the tightest goes on.
    """
    settling = settling or Settling()
    order = np.random.default_rng(seed).permutation(vectors.rows)
    samples = [np.sort(order[:size]) for size in sample_sizes(vectors.rows, clusters)]
    look = _Look(vectors, map_chunks, device)
    settled = _sown(look, samples[0], clusters, seed, restarts, settling)
    for rows in samples[1:]:
        settled = _settle(look, rows, settled.centres, settling)
        if len(rows) <= REHOMED_UP_TO:
            settled = _rehomed(look, rows, settled, seed)
    labels = np.unique(settled.seen.labels, return_inverse=True)[1].astype(np.int32)
    return Clustering(labels, settled.seen.inertia)


def sample_sizes(count: int, clusters: int) -> list[int]:
    """How many vectors each sample has: each twice the last one, then all, at least half as many
    again."""
    size = max(SMALLEST_SAMPLE, VECTORS_PER_CENTRE * clusters)
    sizes = []
    while 3 * size <= 2 * count:
        sizes.append(size)
        size *= 2
    return [*sizes, count]


def _sown(
    look: "_Look", rows: Rows, clusters: int, seed: int, restarts: int, settling: Settling
) -> _Settled:
    unit = look.vectors.read(rows)
    settled = []
    for turn in range(restarts):
        centres = _sow(unit, clusters, np.random.default_rng((seed, turn)), look.device)
        settled.append(_settle(look, rows, centres, settling))
    return _rehomed(look, rows, min(settled, key=lambda one: one.seen.inertia), seed)


def _settle(look: "_Look", rows: Rows, centres: Floats, settling: Settling) -> _Settled:
    """Lloyd's iteration over the vectors at `rows`."""
    before = np.inf
    for turn in range(1, settling.most + 1):
        seen = look(rows, centres)
        centres = _moved(look, rows, centres, seen)
        log.debug("%d vectors, look %d: inertia %.6g", len(rows), turn, seen.inertia / len(rows))
        if before - seen.inertia <= settling.gain * seen.inertia:
            break
        before = seen.inertia
    return _Settled(centres, seen)


@dataclass(frozen=True, slots=True)
class _Look:
    """Looks at vectors chunk by chunk."""

    vectors: VectorFile
    map_chunks: OrderedMap
    device: str

    def __call__(self, rows: Rows, centres: Floats) -> _Pass:
        chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
        sums = np.zeros(centres.shape)
        labels, cosines = [], []
        work = partial(_assign_chunk, self.vectors, centres, self.device)
        for found in self.map_chunks(work, chunks):
            sums += found.sums
            labels.append(found.labels)
            cosines.append(found.cosines)
        return _Pass(np.concatenate(labels), np.concatenate(cosines), sums)


def _assign_chunk(vectors: VectorFile, centres: Floats, device: str, rows: Rows) -> Assigned:
    return assign(vectors.read(rows), centres, device)


def _moved(look: _Look, rows: Rows, centres: Floats, seen: _Pass) -> Floats:
    """The mean directions. A centre that nobody is nearest to moves to the vector that lies
    farthest from its own, the next one to the next; one whose vectors cancel out stays."""
    lengths = np.linalg.norm(seen.sums, axis=1)
    directed = lengths > 1e-6
    moved = centres.copy()
    moved[directed] = seen.sums[directed] / lengths[directed, None]
    empty = np.flatnonzero(np.bincount(seen.labels, minlength=len(centres)) == 0)
    if len(empty):
        farthest = seen.cosines.argsort(kind="stable")[: len(empty)]
        moved[empty[: len(farthest)]] = look.vectors.read(rows[farthest])
    return moved


def _sow(unit: Floats, clusters: int, rng: np.random.Generator, device: str) -> Floats:
    """k-means++: a next centre is drawn by its distance from those that are there, the best of a
    few such draws. Draws for several centres are compared with all vectors at once, and judged by
    what the ones before have left. Ends early where each vector has its like among the centres."""
    draws = 2 + int(np.log(clusters))
    chosen = [int(rng.integers(len(unit)))]
    left = _distances(unit[chosen], unit, device)[0]  # (m,) from the nearest centre
    while len(chosen) < clusters and (total := float(left.sum(dtype=np.float64))) > 0:
        turns = min(1 + len(chosen) // 16, TURNS, clusters - len(chosen))
        ladder = left.cumsum(dtype=np.float64)
        drawn = ladder.searchsorted(rng.random((turns, draws)) * total).clip(max=len(unit) - 1)
        reach = _distances(unit[drawn.ravel()], unit, device).reshape(turns, draws, -1)
        for turn in range(turns):
            nearer = np.minimum(reach[turn], left)  # (draws, m)
            sums = nearer.sum(axis=1, dtype=np.float64)
            if sums.min() < left.sum(dtype=np.float64):
                chosen.append(int(drawn[turn, sums.argmin()]))
                left = nearer[sums.argmin()]
    return unit[chosen]


def _distances(centres: Floats, unit: Floats, device: str) -> Floats:
    """(c, m) cosine distances; exactly 0 between vectors that are the same to float32."""
    distances = 1 - cosines(centres, unit, device)
    distances[distances < SAME] = 0
    return distances


def _rehomed(look: "_Look", rows: Rows, start: _Settled, seed: int) -> _Settled:
    """Move centres that share what one could hold to where vectors lie far from theirs.

    Fewer and fewer at a time: a move may cost at first what later ones win. Where all of them
    together do not lower the inertia, they are taken back.
    """
    rng = np.random.default_rng((seed, len(rows)))
    settled = start
    for share in REHOMED:
        if count := int(share * len(settled.centres)):
            spare = _spare(settled, count)
            ladder = (1 - settled.seen.cosines.astype(np.float64)).clip(min=0).cumsum()
            far = ladder.searchsorted(rng.random(len(spare)) * ladder[-1]).clip(max=len(rows) - 1)
            centres = settled.centres.copy()
            centres[spare] = look.vectors.read(rows[far])
            settled = _settle(look, rows, centres, BRIEFLY)
    return min(start, settled, key=lambda one: one.seen.inertia)


def _spare(settled: _Settled, count: int) -> Rows:
    """At most `count` centres that cost least where each one's vectors go to the centre next to
    it, which itself stays: by Ward's measure, from the centres and their sizes alone."""
    centres, every = settled.centres, np.arange(len(settled.centres))
    sizes = np.bincount(settled.seen.labels, minlength=len(centres)).astype(np.float64)
    alike = centres @ centres.T  # (K, K)
    alike[every, every] = -2
    beside = alike.argmax(axis=1)
    others = sizes[beside].clip(min=1)
    cost = sizes * others / (sizes + others) * (1 - alike[every, beside])
    spare: list[int] = []
    staying: set[int] = set()
    for centre in cost.argsort(kind="stable").tolist():
        if centre not in staying and len(spare) < count and beside[centre] not in spare:
            spare.append(centre)
            staying.add(int(beside[centre]))
    return np.array(spare, np.int64)
