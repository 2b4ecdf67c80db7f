"""Whether real vectors find the prototypes of their names."""

# N vectors, P prototypes of one level with M different names, D width

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opendet.curate.pool import Level, Pool
from opendet.pools.levels import finer_level, of_level, vectors_of
from opendet.pools.names import plain, without_gloss
from opendet.pools.vectors import Floats

CHUNK = 1024
"""Vectors that are compared with all prototypes at once."""


@dataclass(frozen=True, slots=True)
class NearestNames:
    """Ranks count different names: a name that has several prototypes takes one place."""

    level: Level
    names: int
    """Different names that the prototypes have."""
    judged: int
    """Vectors whose name some prototype has."""
    lacking: int
    """Vectors whose name none has; they are no mistake of the prototypes' places."""
    first: float | None
    """Of the judged, those whose name comes first. None where none could be judged."""
    first_five: float | None
    median_rank: float | None
    """From 1."""

    @property
    def first_of_all(self) -> float:
        """Of all vectors, those whose name comes first; a name that no prototype has never does."""
        return (self.first or 0.0) * self.judged / max(1, self.judged + self.lacking)


def nearest_names(vectors: Floats, names: Sequence[str], pool: Pool) -> NearestNames:
    """Of (N, D) unit vectors with their names, against the finer level that the pool has.

    A vector's name may be several with `|` between them: any of them is right.
    """
    level = finer_level(pool)
    ranks = name_ranks(vectors, names, pool, level)
    judged = ranks[ranks > 0]
    own = {plain(one.medoid.name) for one in of_level(pool, level)}
    return NearestNames(
        level=level,
        names=len(own),
        judged=len(judged),
        lacking=len(ranks) - len(judged),
        first=float((judged == 1).mean()) if len(judged) else None,
        first_five=float((judged <= 5).mean()) if len(judged) else None,
        median_rank=float(np.median(judged)) if len(judged) else None,
    )


def name_ranks(
    vectors: Floats, names: Sequence[str], pool: Pool, level: Level
) -> NDArray[np.int64]:
    """(N,) the rank of each vector's name among the names of that level, from 1; 0 where none of
    the prototypes has it."""
    prototypes = vectors_of(pool, level)
    own = [plain(one.medoid.name) for one in of_level(pool, level)]
    known, numbers = np.unique(np.array(own, np.str_), return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[order], np.arange(len(known)))
    wanted = [_places(name, known) for name in names]
    ranks = np.zeros(len(names), np.int64)
    for start in range(0, len(names), CHUNK):
        cosines = vectors[start : start + CHUNK] @ prototypes[order].T
        best = np.maximum.reduceat(cosines, starts, axis=1)  # (n, M) of each name's prototypes
        for row, cosine in enumerate(best):
            if len(right := wanted[start + row]):
                ranks[start + row] = 1 + (cosine > cosine[right].max()).sum()
    return ranks


def _places(name: str, known: NDArray[np.str_]) -> NDArray[np.intp]:
    """Where among the sorted known names any of a vector's names stands."""
    forms = [plain(one) for one in name.split("|")]
    return np.flatnonzero(np.isin(known, [*forms, *map(without_gloss, forms)]))
