"""The stage `prototypes`: what the regions that passed look like to CLIP, as a pool of two levels.

Coarse prototypes are the centres of spherical K-Means; fine ones are the dense spots that DBSCAN
finds inside each coarse cluster, named by their medoids (DeCo-DETR's dual-level pool).
"""

# N vectors, D width, K coarse and P fine prototypes

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from opendet.curate.pool import Level, Member, Pool, PoolHealth, Prototype
from opendet.record import Record
from opendet.section import Section

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Rows = NDArray[np.intp]

CHUNK = 4096
"""Vectors that are compared with all prototypes at once."""


class PrototypesConfig(Section):
    """How the pool is made."""

    splits: tuple[str, ...] = ("train",)
    """Splits whose regions the pool is made of."""
    coarse: int = Field(default=64, ge=1)
    """Coarse clusters (M1; 1203 in the paper); fewer where there are fewer distinct vectors."""
    restarts: int = Field(default=4, ge=1)
    """K-Means starts anew so many times, and the tightest result counts."""
    minibatch_above: int = Field(default=200_000, ge=1)
    """With more vectors than this, K-Means learns from mini-batches."""
    eps: float = Field(default=0.1, gt=0, le=2)
    """Cosine distance within which vectors are neighbours for DBSCAN."""
    min_samples: int = Field(default=4, ge=1)
    """Neighbours, itself included, that make a vector the core of a fine cluster."""
    seed: int = Field(default=0, ge=0)
    """Seed of K-Means."""


class CropVectors(Protocol):
    """What `opendet.curate.vectors.read_vectors` gives of a shard, as far as the pool needs it."""

    @property
    def keys(self) -> Iterable[str]: ...
    @property
    def regions(self) -> Iterable[int]: ...
    @property
    def crops(self) -> Floats: ...


@dataclass(frozen=True, slots=True)
class _Cluster:
    """Rows of the vectors, and the coarse cluster that they lie in (-1: it is one itself)."""

    rows: Rows
    parent: int


def gather(
    parts: Iterable[tuple[Sequence[Record], CropVectors]], config: PrototypesConfig
) -> tuple[Floats, list[Member]]:
    """The crop vectors (N, D) of the regions that passed the filter and have a name, and whose
    they are, in the order of the parts. A part is its records after the filter and its vectors.

    Raises ValueError where no region has a vector, or where the widths differ.
    """
    crops: list[Floats] = []
    members: list[Member] = []
    for records, vectors in parts:
        passed = {
            (member.key, member.region): member
            for record in records
            if record.split in config.splits
            for member in _members(record)
        }
        for row, whose in enumerate(zip(vectors.keys, vectors.regions, strict=True)):
            if member := passed.get((str(whose[0]), int(whose[1]))):
                crops.append(vectors.crops[row])
                members.append(member)
    if len(widths := sorted({len(crop) for crop in crops})) != 1:
        raise ValueError(
            f"prototypes: the vectors have the widths {widths}: build the stage embed again"
            if widths
            else "prototypes: no region of the splits "
            f"{', '.join(config.splits)} passed the filter with a name and a vector: see what it "
            "refused; images without regions make no pool, and `opendet data build shards` packs "
            "them without one"
        )
    return np.stack(crops), members


def build_pool(vectors: Floats, members: Sequence[Member], config: PrototypesConfig) -> Pool:
    """A pool of (N, D) vectors; the same arguments give the same bytes.

    Vectors that are zero or not finite are counted and left out. Raises ValueError where none is
    left, or where there is not one vector for each member.
    """
    from threadpoolctl import threadpool_limits

    if vectors.ndim != 2 or len(vectors) != len(members):
        raise ValueError(
            f"prototypes: {len(members)} regions need as many vectors of one width, not an array "
            f"of shape {vectors.shape}: build the stage embed again"
        )
    finite = np.asarray(np.isfinite(vectors).all(axis=1))
    lengths = np.linalg.norm(np.where(finite[:, None], vectors, 0).astype(np.float64), axis=1)
    usable = np.flatnonzero(lengths > 0).tolist()
    if not usable:
        raise ValueError(
            f"prototypes: none of {len(vectors)} regions has a usable vector: see what the stage "
            "filter refused, or build the stage embed again"
        )
    unit = vectors[usable].astype(np.float64) / lengths[usable, None]
    left_out = (int((~finite).sum()), int((finite & (lengths == 0)).sum()))
    # Several threads add up in any order; one thread gives the same bytes each time.
    with threadpool_limits(limits=1):
        return _pool(unit, [members[row] for row in usable], left_out, config)


def _pool(
    unit: Doubles, members: Sequence[Member], left_out: tuple[int, int], config: PrototypesConfig
) -> Pool:
    coarse = _coarse_clusters(unit, config)
    fine = [
        _Cluster(rows, parent)
        for parent, cluster in enumerate(coarse)
        for rows in _dense_spots(unit, cluster.rows, config)
    ]
    coarse_vectors, fine_vectors = _centres(unit, coarse), _centres(unit, fine)
    prototypes = (
        *_describe("coarse", unit, coarse, coarse_vectors, members),
        *_describe("fine", unit, fine, fine_vectors, members),
    )
    names = [member.name for member in members]
    fine_names = [prototype.medoid.name for prototype in prototypes[len(coarse) :]]
    coarse_names = [prototype.medoid.name for prototype in prototypes[: len(coarse)]]
    health = PoolHealth(
        vectors=len(unit),
        left_out_not_finite=left_out[0],
        left_out_zero=left_out[1],
        coarse_asked=config.coarse,
        coarse=len(coarse),
        fine=len(fine),
        noise_share=1 - sum(len(cluster.rows) for cluster in fine) / len(unit),
        names=len(set(names)),
        names_covered=len(set(fine_names)),
        mean_pairwise_cosine=mean_pairwise_cosine(fine_vectors),
        nearest_name_accuracy=(
            nearest_name_accuracy(unit, names, fine_vectors, fine_names)
            if fine
            else nearest_name_accuracy(unit, names, coarse_vectors, coarse_names)
        ),
    )
    return Pool(
        coarse_vectors.astype(np.float32), fine_vectors.astype(np.float32), prototypes, health
    )


def mean_pairwise_cosine(unit: Doubles) -> float | None:
    """Mean cosine of all pairs of (P, D) unit vectors; None with fewer than two."""
    count = len(unit)
    if count < 2:
        return None
    total = float(np.square(unit.sum(axis=0)).sum())  # each pair twice, and each with itself
    return (total - count) / (count * (count - 1))


def nearest_name_accuracy(
    unit: Doubles, names: Sequence[str], prototypes: Doubles, prototype_names: Sequence[str]
) -> float:
    """Share of (N, D) unit vectors whose nearest of (P, D) prototypes, P > 0, has their name."""
    right = 0
    for start in range(0, len(unit), CHUNK):
        nearest = (unit[start : start + CHUNK] @ prototypes.T).argmax(axis=1)
        right += sum(
            prototype_names[index] == name
            for index, name in zip(nearest, names[start : start + CHUNK], strict=True)
        )
    return right / len(unit)


def _members(record: Record) -> list[Member]:
    return [
        Member(record.key, index, region.names[0], region.description)
        for index, region in enumerate(record.regions)
        if region.kept and region.names
    ]


def _coarse_clusters(unit: Doubles, config: PrototypesConfig) -> list[_Cluster]:
    """Spherical K-Means: on unit vectors the nearest centre is the one of the largest cosine."""
    from sklearn.cluster import KMeans, MiniBatchKMeans

    kmeans = MiniBatchKMeans if len(unit) > config.minibatch_above else KMeans
    clusters = _distinct(unit, enough=config.coarse)
    labels = kmeans(clusters, n_init=config.restarts, random_state=config.seed).fit_predict(unit)
    return [_Cluster(np.flatnonzero(labels == label), -1) for label in np.unique(labels)]


def _distinct(unit: Doubles, *, enough: int) -> int:
    """How many different vectors there are, counted up to `enough`."""
    seen: set[bytes] = set()
    for vector in unit:
        seen.add(vector.tobytes())
        if len(seen) == enough:
            break
    return len(seen)


def _dense_spots(unit: Doubles, rows: Rows, config: PrototypesConfig) -> list[Rows]:
    """Rows of each dense spot of a coarse cluster; rows that are noise are in none."""
    from sklearn.cluster import DBSCAN

    distance = float(np.sqrt(2 * config.eps))  # |a - b|^2 = 2 (1 - cos) for unit vectors
    labels = DBSCAN(eps=distance, min_samples=config.min_samples).fit_predict(unit[rows])
    return [rows[labels == label] for label in range(labels.max() + 1)]


def _centres(unit: Doubles, clusters: Sequence[_Cluster]) -> Doubles:
    """(C, D) mean directions; a cluster whose vectors cancel out is stood for by its first."""
    centres = np.zeros((len(clusters), unit.shape[1]))
    for centre, cluster in zip(centres, clusters, strict=True):
        mean = unit[cluster.rows].mean(axis=0)
        length = np.linalg.norm(mean)
        centre[:] = mean / length if length > 1e-9 else unit[cluster.rows[0]]
    return centres


def _describe(
    level: Level,
    unit: Doubles,
    clusters: Sequence[_Cluster],
    centres: Doubles,
    members: Sequence[Member],
) -> list[Prototype]:
    """What is known of each cluster; of equally near members the first is the medoid."""
    described = []
    for index, (cluster, centre) in enumerate(zip(clusters, centres, strict=True)):
        medoid = cluster.rows[(unit[cluster.rows] @ centre).argmax()]
        described.append(
            Prototype(level, index, cluster.parent, len(cluster.rows), members[medoid])
        )
    return described
