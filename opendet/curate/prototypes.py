"""The stage `prototypes`: what the regions that passed look like to CLIP, as a pool of two levels.

Coarse prototypes are the centres of spherical K-Means; fine ones are the dense spots that DBSCAN
finds inside each coarse cluster, named by their medoids (DeCo-DETR's dual-level pool).
"""

# N vectors, D width, K coarse and P fine prototypes

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator

from opendet.curate.pool import Level, Member, Pool, PoolHealth, Prototype
from opendet.curate.pool_clusters import Cluster, Clusters, cluster
from opendet.curate.pool_vectors import Floats, Gathered, gather
from opendet.curate.unit_products import BLOCK, Rows
from opendet.curate.vector_file import VectorFile
from opendet.ordered_map import OrderedMap, map_on_threads
from opendet.section import Section

if TYPE_CHECKING:
    import pyarrow as pa

ASKED = 100_000
"""Vectors whose nearest prototype is looked up for the health."""

log = logging.getLogger(__name__)


class PrototypesConfig(Section):
    """How the pool is made."""

    splits: tuple[str, ...] = ("train",)
    """Splits whose regions the pool is made of."""
    coarse: int = Field(default=64, ge=1)
    """Coarse clusters (M1; 1203 in the paper); fewer where there are fewer distinct vectors."""
    restarts: int = Field(default=4, ge=1)
    """K-Means is sown anew so many times in its smallest sample, and the tightest one goes on."""
    fine: int | None = Field(default=None, ge=1)
    """Fine clusters (4800 in the paper): the largest dense spots; null for all that there are."""
    eps: float | Literal["auto"] = 0.1
    """Cosine distance within which vectors are neighbours for DBSCAN. `auto`: in each coarse
    cluster the 80th percentile of the distance to the fourth nearest."""
    min_samples: int = Field(default=4, ge=1)
    """Neighbours, itself included, that make a vector the core of a fine cluster."""
    device: str = "auto"
    """`auto` takes a GPU where there is one. Only a CPU promises equal bytes on any machine."""
    threads: int = Field(default=2, ge=1)
    """On a CPU, where the stage does not run on Ray; any number gives the same bytes."""
    seed: int = Field(default=0, ge=0)
    """Seed of K-Means."""

    @field_validator("eps", mode="before")
    @classmethod
    def _distance_or_auto(cls, eps: Any) -> Any:
        """One line of a wrong one, where pydantic has one for each of its kinds."""
        if eps == "auto" or (isinstance(eps, int | float) and 0 < eps <= 2):
            return eps
        raise ValueError("a cosine distance above 0 and up to 2, or `auto`")


def build_pool(vectors: Floats, members: Sequence[Member], config: PrototypesConfig) -> Pool:
    """A pool of (N, D) vectors in memory, on this process's CPU. Raises ValueError like `gather`
    of `opendet.curate.pool_vectors`."""
    with TemporaryDirectory() as folder:
        gathered = gather([(vectors, members)], Path(folder))
        return pool_of(gathered, config, partial(map_on_threads, threads=config.threads))


def pool_of(
    gathered: Gathered, config: PrototypesConfig, map_chunks: OrderedMap, device: str = "cpu"
) -> Pool:
    """The pool of what was gathered; the same arguments give the same bytes."""
    from threadpoolctl import threadpool_limits

    # Several threads of BLAS add up in any order; one gives the same bytes each time.
    with threadpool_limits(limits=1):
        found = clusters_of(gathered.vectors, config, map_chunks, device)
        if len(found.coarse) < config.coarse:
            log.warning(
                "prototypes: %d coarse clusters were asked for; %d vectors make %d",
                *(config.coarse, gathered.vectors.rows, len(found.coarse)),
            )
        if len(found.fine) < (config.fine or 0):
            log.warning(
                "prototypes: %d fine clusters were asked for; with an eps of %.3g there are %d",
                *(config.fine, found.eps, len(found.fine)),
            )
        names = gathered.names()
        health = _health(gathered, names, found, config, map_chunks)
    prototypes = (
        *_described("coarse", found.coarse, found.coarse_of, gathered, names),
        *_described("fine", found.fine, found.fine_of, gathered, names),
    )
    width = gathered.vectors.width
    coarse, fine = _stacked(found.coarse, width), _stacked(found.fine, width)
    return Pool(coarse, fine, prototypes, health, _assignments(gathered, found))


def clusters_of(
    vectors: VectorFile, config: PrototypesConfig, map_chunks: OrderedMap, device: str = "cpu"
) -> Clusters:
    """Both levels of the vectors, without names. BLAS must be limited to one thread."""
    return cluster(
        vectors,
        coarse=config.coarse,
        restarts=config.restarts,
        fine=config.fine,
        eps=config.eps,
        min_samples=config.min_samples,
        seed=config.seed,
        map_chunks=map_chunks,
        device=device,
    )


def mean_pairwise_cosine(unit: Floats) -> float | None:
    """Mean cosine of all pairs of (P, D) unit vectors; None with fewer than two."""
    count = len(unit)
    if count < 2:
        return None
    # each pair twice, and each with itself
    total = float(np.square(unit.sum(axis=0, dtype=np.float64)).sum())
    return (total - count) / (count * (count - 1))


def nearest_name_accuracy(
    unit: Floats, names: ArrayLike, prototypes: Floats, prototype_names: ArrayLike
) -> float:
    """Share of (N, D) unit vectors whose nearest of (P, D) prototypes, P > 0, has their name."""
    own, theirs = np.asarray(names), np.asarray(prototype_names)
    right = 0
    for start in range(0, len(unit), BLOCK):
        nearest = (unit[start : start + BLOCK] @ prototypes.T).argmax(axis=1)
        right += int((theirs[nearest] == own[start : start + BLOCK]).sum())
    return right / len(unit)


def _health(
    gathered: Gathered,
    names: NDArray[np.int32],
    found: Clusters,
    config: PrototypesConfig,
    map_chunks: OrderedMap,
) -> PoolHealth:
    count = gathered.vectors.rows
    fine_names = names[[one.medoid for one in found.fine]]
    level = found.fine or found.coarse
    asked = np.unique(np.linspace(0, count - 1, min(count, ASKED)).astype(np.int64))
    chunks = np.array_split(asked, -(-len(asked) // BLOCK))
    look = partial(_right_names, gathered.vectors, names, _stacked(level, gathered.vectors.width))
    right = map_chunks(partial(look, names[[one.medoid for one in level]]), chunks)
    return PoolHealth(
        vectors=count,
        left_out_not_finite=gathered.not_finite,
        left_out_zero=gathered.zero,
        coarse_asked=config.coarse,
        coarse=len(found.coarse),
        fine_asked=config.fine,
        fine_found=found.found,
        fine=len(found.fine),
        eps=found.eps,
        eps_rounds=found.rounds,
        noise_share=found.noise / count,
        cut_share=(int((found.fine_of < 0).sum()) - found.noise) / count,
        names=len(np.unique(names)),
        names_covered=len(np.unique(fine_names)),
        mean_pairwise_cosine=mean_pairwise_cosine(_stacked(found.fine, gathered.vectors.width)),
        nearest_name_accuracy=sum(right) / len(asked),
    )


def _right_names(
    vectors: VectorFile,
    names: NDArray[np.int32],
    prototypes: Floats,
    prototype_names: NDArray[np.int32],
    rows: Rows,
) -> int:
    unit = vectors.read(rows)
    share = nearest_name_accuracy(unit, names[rows], prototypes, prototype_names)
    return round(share * len(rows))


def _stacked(clusters: Sequence[Cluster], width: int) -> NDArray[np.float32]:
    """(C, D), of no clusters too."""
    return np.array([one.centre for one in clusters], np.float32).reshape(-1, width)


def _described(
    level: Level,
    clusters: Sequence[Cluster],
    cluster_of: NDArray[np.int32],
    gathered: Gathered,
    names: NDArray[np.int32],
) -> list[Prototype]:
    medoid_names = names[[one.medoid for one in clusters]]
    inside = cluster_of >= 0
    alike = medoid_names[cluster_of[inside]] == names[inside]
    right = np.bincount(cluster_of[inside], weights=alike, minlength=len(clusters))
    return [
        Prototype(
            level, index, one.parent, one.size, gathered.member(one.medoid), right[index] / one.size
        )
        for index, one in enumerate(clusters)
    ]


def _assignments(gathered: Gathered, found: Clusters) -> "pa.Table":
    import pyarrow as pa

    table = gathered.members.drop_columns(["text"])
    table = table.append_column("coarse", pa.array(found.coarse_of))
    return table.append_column("fine", pa.array(found.fine_of))
