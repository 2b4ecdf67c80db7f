"""How well clusters and names go together, whoever made the clusters."""

# N members of P clusters; names are numbered, equal numbers being one name

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Purity:
    """All shares are in [0, 1]; members that are noise (-1) count nowhere, but where it is said."""

    members: float
    """Members whose prototype has their name."""
    prototypes: float
    """The same share of each prototype, averaged over the prototypes: small ones count as much."""
    homogeneity: float
    """1 where no cluster mixes names, 0 where clusters say nothing of names (by entropy)."""
    completeness: float
    """1 where no name is spread over clusters."""
    v_measure: float
    """The harmonic mean of the two."""
    names: int
    """Different names of all members, noise among them."""
    names_kept: int
    """Of these, those that a prototype has."""
    names_gathered: float | None
    """Of the names with several members, those with all of them in one cluster, and none in noise;
    None where every name has one member."""


def purity(names: Labels, clusters: Labels, prototype_names: Labels) -> Purity | None:
    """Of (N,) members' names and clusters; `prototype_names` (P,) are the clusters' own.

    None where every member is noise.
    """
    from sklearn.metrics import homogeneity_completeness_v_measure

    there = clusters >= 0
    if not there.any():
        return None
    own = own_shares(names, clusters, prototype_names)
    scores = homogeneity_completeness_v_measure(names[there], clusters[there])
    return Purity(
        members=float((prototype_names[clusters[there]] == names[there]).mean()),
        prototypes=float(np.nanmean(own)),
        homogeneity=float(scores[0]),
        completeness=float(scores[1]),
        v_measure=float(scores[2]),
        names=len(np.unique(names)),
        names_kept=len(np.intersect1d(names, prototype_names)),
        names_gathered=_gathered(names, clusters),
    )


def own_shares(names: Labels, clusters: Labels, prototype_names: Labels) -> NDArray[np.float64]:
    """(P,) the share of each prototype's members that have its name; NaN where it has none."""
    there = clusters >= 0
    right = there & (prototype_names[clusters] == names)
    sizes = np.bincount(clusters[there], minlength=len(prototype_names))
    counts = np.bincount(clusters[right], minlength=len(prototype_names))
    shares: NDArray[np.float64] = np.divide(
        counts, sizes, out=np.full(len(sizes), np.nan), where=sizes > 0
    )
    return shares


def _gathered(names: Labels, clusters: Labels) -> float | None:
    order = np.lexsort((clusters, names))
    names, clusters = names[order], clusters[order]
    starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])
    counts = np.diff(np.r_[starts, len(names)])
    least, most = clusters[starts], clusters[starts + counts - 1]
    several = counts > 1
    if not several.any():
        return None
    return float(((least == most) & (least >= 0))[several].mean())
