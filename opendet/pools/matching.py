"""Which prototypes of two pools are the same: mutually nearest ones, and near enough."""

# A prototypes before, B after, D width

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Rows = NDArray[np.intp]

CHUNK = 1024


@dataclass(frozen=True, slots=True)
class Nearest:
    """For each row of one pool, its nearest row of the other."""

    rows: Rows
    cosines: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Matching:
    """The same prototypes of two pools, and what became of the others."""

    before: Rows
    """(M,) rows of the pool before, ascending."""
    after: Rows
    """(M,) the rows that they are now."""
    cosines: NDArray[np.float64]
    """(M,)"""
    split: dict[int, tuple[int, ...]]
    """Row before -> the several rows after that are near enough and nearest to it."""
    merged: dict[int, tuple[int, ...]]
    """Row after -> the several rows before that are near enough and nearest to it."""
    lost: Rows
    """Rows before without any near enough after."""
    gained: Rows
    """Rows after without any near enough before."""


def match_prototypes(before: Floats, after: Floats, *, same_from: float) -> Matching:
    """Of (A, D) and (B, D) unit rows, with a cosine of `same_from` as near enough.

    Mutual nearest neighbours rather than the best sum of cosines: that one would marry prototypes
    that are merely left over.
    """
    if not (len(before) and len(after)):
        none, lost, gained = np.empty(0, np.intp), np.arange(len(before)), np.arange(len(after))
        return Matching(none, none, np.empty(0), {}, {}, lost, gained)
    forward, backward = nearest(before, after), nearest(after, before)
    rows = np.arange(len(before))
    mutual = (backward.rows[forward.rows] == rows) & (forward.cosines >= same_from)
    return Matching(
        before=rows[mutual],
        after=forward.rows[mutual],
        cosines=forward.cosines[mutual],
        split=_several(backward, same_from),
        merged=_several(forward, same_from),
        lost=np.flatnonzero(forward.cosines < same_from),
        gained=np.flatnonzero(backward.cosines < same_from),
    )


def nearest(rows: Floats, others: Floats) -> Nearest:
    """Of (A, D) unit rows among (B, D), both not empty; of equally near ones the first."""
    found, cosines = np.empty(len(rows), np.intp), np.empty(len(rows))
    for start in range(0, len(rows), CHUNK):
        similar = rows[start : start + CHUNK] @ others.T
        best = similar.argmax(axis=1)
        found[start : start + CHUNK] = best
        cosines[start : start + CHUNK] = similar[np.arange(len(best)), best]
    return Nearest(found, cosines)


def _several(found: Nearest, same_from: float) -> dict[int, tuple[int, ...]]:
    """Rows that several have as their nearest, and those several."""
    near = np.flatnonzero(found.cosines >= same_from)
    targets, counts = np.unique(found.rows[near], return_counts=True)
    return {
        int(target): tuple(int(row) for row in near[found.rows[near] == target])
        for target in targets[counts > 1]
    }
