"""What is measured of a pool beside what its making counts (`PoolHealth`): `measure_health`.

A pool alone gives its sizes and cosines; its assignments give purity, its vectors the stability
over seeds, its records the margins of the filter.
"""

# K coarse and P fine prototypes of N vectors, D width

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opendet.curate.pool import Level, Pool
from opendet.curate.prototypes import mean_pairwise_cosine
from opendet.curate.vector_file import VectorFile
from opendet.files import write_json_durably
from opendet.pools.assignments import Assignments, PlainNames, assignments_of, of_table, plain_names
from opendet.pools.levels import of_level, vectors_of
from opendet.pools.nearest import NearestNames, nearest_names
from opendet.pools.purity import Purity, purity
from opendet.pools.stability import Cluster, Stability, even_rows, seed_stability
from opendet.record import Record
from opendet.typed_json import read_json

FILE = "measures.json"
SAMPLE = 10_000
"""Vectors that are clustered anew for each seed."""


@dataclass(frozen=True, slots=True)
class LevelMeasures:
    """Of the prototypes of one level."""

    prototypes: int
    smallest: int
    median: float
    largest: int
    """Members of the prototypes."""
    largest_share: float
    """Of the level's members, those of the largest prototype."""
    gini: float
    """Of the sizes: 0 where all are equal, near 1 where one prototype has nearly all members."""
    mean_pairwise_cosine: float | None
    """None with fewer than two."""
    purity: Purity | None
    """None without assignments."""


@dataclass(frozen=True, slots=True)
class Margins:
    """How much better a region's name fits than the best other name, before the filter and after:
    means of agreement minus rival agreement, cosines."""

    judged: int
    """Regions that have both numbers."""
    kept: int
    before: float
    """Of all that were judged."""
    after: float | None
    """Of those that were kept; None where none was."""


@dataclass(frozen=True, slots=True)
class PoolMeasures:
    """None stands for what was not at hand."""

    coarse: LevelMeasures
    fine: LevelMeasures | None
    """None for a pool without fine prototypes."""
    vectors_mean_cosine: float | None
    """Mean pairwise cosine of the vectors that the pool was made of."""
    stability: Stability | None
    nearest: NearestNames | None
    """Of the vectors that the pool was made of."""
    margins: Margins | None


def measure_health(
    pool: Pool,
    assignments: Assignments | None = None,
    *,
    vectors: VectorFile | None = None,
    cluster: Cluster | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    sample: int = SAMPLE,
    records: Iterable[Record] = (),
) -> PoolMeasures:
    """All that can be measured from what is given; a pool just made brings its assignments.

    `vectors` are those that the pool was made of, in the order of its assignments; an even sample
    of them counts. `cluster` clusters some from a seed as the coarse level was made:
    `opendet.pools.reclustering`.
    """
    if assignments is None and pool.assignments is not None:
        assignments = of_table(pool.assignments)
    names = plain_names(pool, assignments) if assignments else None
    rows = even_rows(vectors.rows if vectors else 0, sample)
    unit = vectors.read(rows) if vectors else None
    return PoolMeasures(
        coarse=_level("coarse", pool, assignments, names),
        fine=_level("fine", pool, assignments, names) if len(pool.fine) else None,
        vectors_mean_cosine=None if unit is None else mean_pairwise_cosine(unit),
        stability=(
            seed_stability(unit, cluster, seeds=seeds)
            if unit is not None and cluster is not None
            else None
        ),
        nearest=(
            nearest_names(unit, assignments.written(rows), pool)
            if unit is not None and assignments is not None
            else None
        ),
        margins=margins(records),
    )


def margins(records: Iterable[Record]) -> Margins | None:
    """Of all regions of the records, which are read once; None where none was judged."""
    judged = kept = 0
    before = after = 0.0
    for region in (region for record in records for region in record.regions):
        if region.agreement is None or region.rival_agreement is None:
            continue
        margin = region.agreement - region.rival_agreement
        judged, before = judged + 1, before + margin
        if region.kept:
            kept, after = kept + 1, after + margin
    if not judged:
        return None
    return Margins(judged, kept, before / judged, after / kept if kept else None)


def gini(sizes: NDArray[np.integer]) -> float:
    """Of (P,) sizes: the mean difference of two of them over twice their mean."""
    ordered = np.sort(sizes).astype(np.float64)
    count, total = len(ordered), float(ordered.sum())
    if not total:
        return 0.0
    ranked = float((ordered * np.arange(1, count + 1)).sum())
    return 2 * ranked / (count * total) - (count + 1) / count


def write_measures(folder: Path, measures: PoolMeasures) -> None:
    """Beside the pool."""
    write_json_durably(folder / FILE, asdict(measures))


def read_measures(folder: Path, pool: Pool) -> PoolMeasures:
    """What was measured when the pool was made; of an older pool, what its folder still gives.

    Raises ValueError, in one line, for a damaged file.
    """
    if (folder / FILE).is_file():
        return read_json(PoolMeasures, folder / FILE)
    return measure_health(pool, assignments_of(folder, pool))


def _level(
    level: Level, pool: Pool, assignments: Assignments | None, names: PlainNames | None
) -> LevelMeasures:
    sizes = np.array([one.size for one in of_level(pool, level)])
    return LevelMeasures(
        prototypes=len(sizes),
        smallest=int(sizes.min()),
        median=float(np.median(sizes)),
        largest=int(sizes.max()),
        largest_share=float(sizes.max() / sizes.sum()),
        gini=gini(sizes),
        mean_pairwise_cosine=mean_pairwise_cosine(vectors_of(pool, level)),
        purity=(
            purity(names.members, assignments.clusters(level), names.prototypes(level))
            if assignments is not None and names is not None
            else None
        ),
    )
