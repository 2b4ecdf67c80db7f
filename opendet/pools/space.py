"""Whether two pools lie in one CLIP's space."""

# D width

import numpy as np

from opendet.curate.pool import Pool
from opendet.curate.pool_space import TRUSTED, nearness
from opendet.pools.levels import LEVELS, of_level, vectors_of
from opendet.pools.matching import Floats
from opendet.pools.names import plain

AGREEING = 0.1
"""Of the way from the others' cosine to 1, what two prototypes of one name must have gone."""


def require_one_space(before: Pool, after: Pool) -> None:
    """Raises ValueError where the pools' vectors cannot be compared.

    A pool does not know which CLIP made it, and two of one width may be of two spaces. There,
    prototypes of one name are no nearer to each other than to any others.
    """
    widths = before.coarse.shape[1], after.coarse.shape[1]
    if widths[0] != widths[1]:
        raise ValueError(
            f"the pools are {widths[0]} and {widths[1]} wide: they are of two CLIP models, and "
            "cannot be compared"
        )
    first, second = _by_name(before), _by_name(after)
    shared = sorted(first.keys() & second.keys())
    if len(shared) < TRUSTED:
        return
    near = nearness(*(np.stack([one[name] for name in shared]) for one in (first, second)))
    if not near.agrees(AGREEING):
        raise ValueError(
            f"the {len(shared)} names that both pools have lie at a cosine of {near.own:.2f} from "
            f"themselves and of {near.others:.2f} from the others: the pools are of two CLIP "
            "models, and cannot be compared"
        )


def _by_name(pool: Pool) -> dict[str, Floats]:
    """Plain name -> the vector of the first prototype of that name, fine ones first."""
    found: dict[str, Floats] = {}
    for level in reversed(LEVELS):
        vectors = vectors_of(pool, level)
        for one in of_level(pool, level):
            found.setdefault(plain(one.medoid.name), vectors[one.index])
    return found
