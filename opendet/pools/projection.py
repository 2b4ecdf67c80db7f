"""Prototypes laid out in the plane: near ones stay near, and one machine draws one picture.

t-SNE, whose groups a reader can tell apart, where PCA heaps a thousand directions of CLIP's space
upon each other. It begins from PCA, so that what is left and right does not hang on chance. How far
apart two groups lie means little in it; only neighbours do.
"""

# P prototypes, D width, F families: coarse prototypes whose fine ones are shown

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.integer]

FEWEST = 12
"""Fewer points than these have no groups to tell apart: PCA alone places them."""
_DIRECTIONS = 50
_PERPLEXITY = 30.0
_STEPS = 500
"""More take longer and place hardly a neighbour better."""


def project(vectors: Floats) -> NDArray[np.float64]:
    """(P, D) unit rows -> (P, 2) places in [0, 1]; the same rows give the same places on one
    machine."""
    from threadpoolctl import threadpool_limits

    # Equal rows lie in one place, and t-SNE, which cannot begin where all are equal, is not asked.
    rows, which = np.unique(vectors, axis=0, return_inverse=True)
    # Several threads add up in any order.
    with threadpool_limits(limits=1):
        places = _principal(rows, 2) if len(rows) < FEWEST else _neighbours(rows)
    low, high = places.min(axis=0), places.max(axis=0)
    spans = np.where(high > low, high - low, 1)
    squeezed: NDArray[np.float64] = np.where(high > low, (places - low) / spans, 0.5)
    return squeezed[which]


def colours_of(places: NDArray[np.float64], families: Labels, count: int) -> NDArray[np.int64]:
    """(P,) one of `count` colours for each point, the same within a family.

    There are more families than colours, so each takes, the largest first, the colour whose nearest
    bearer is farthest: neighbours differ.
    """
    kinds, members, sizes = np.unique(families, return_inverse=True, return_counts=True)
    centres = np.stack([places[members == kind].mean(axis=0) for kind in range(len(kinds))])
    own = np.zeros(len(kinds), np.int64)
    distances = np.full((len(kinds), count), np.inf)  # of each family to each colour's nearest
    for kind in np.argsort(-sizes, kind="stable"):
        own[kind] = distances[kind].argmax()
        away = np.linalg.norm(centres - centres[kind], axis=1)
        distances[:, own[kind]] = np.minimum(distances[:, own[kind]], away)
    return own[members]


def _principal(vectors: Floats, most: int) -> NDArray[np.float64]:
    """(P, C) of at least two columns, the missing ones zero."""
    from sklearn.decomposition import PCA

    if len(vectors) == 1:
        return np.zeros((1, 2))
    count = min(most, len(vectors), vectors.shape[1])
    found = PCA(count, svd_solver="full").fit_transform(vectors.astype(np.float64))
    return np.pad(found, ((0, 0), (0, max(0, 2 - count))))


def _neighbours(vectors: Floats) -> NDArray[np.float64]:
    from sklearn.manifold import TSNE

    perplexity = min(_PERPLEXITY, (len(vectors) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=0, n_jobs=1, max_iter=_STEPS)
    found: NDArray[np.float64] = tsne.fit_transform(_principal(vectors, _DIRECTIONS))
    return found.astype(np.float64)
