"""Real numbers of draws to whole ones, by systematic sampling (Madow 1949).

The fractions are laid end to end in a random order, and a comb of unit pitch with a random offset
falls upon them: whoever a tooth hits is drawn once more. So each count is the floor or the ceiling
of what is expected, right in the mean, and so is the sum over each group.
"""

import numpy as np
from numpy.typing import NDArray

_DECIMALS = 9
"""Expectations nearer to a whole number than this are that number: no sample is missed for a
rounding error."""


def whole_draws(
    expected: NDArray[np.float64], groups: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """(N,) expected draws whose sum is whole, (N,) groups -> (N,) counts of the same sum."""
    expected = expected.round(_DECIMALS)
    counts = np.floor(expected).astype(np.int64)
    teeth = round(float(expected.sum())) - int(counts.sum())
    if teeth == 0:
        return counts
    order = rng.permutation(len(expected))
    order = order[np.argsort(groups[order], kind="stable")]  # a group lies in one piece
    ends = np.cumsum((expected - counts)[order])
    places = (np.arange(teeth) + rng.random()) * (ends[-1] / teeth)
    hit = np.searchsorted(ends, places, side="right").clip(max=len(expected) - 1)
    counts[order] += np.bincount(hit, minlength=len(expected))
    return counts
