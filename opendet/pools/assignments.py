"""What became of each vector that a pool was made of: `assignments.parquet` beside the pool."""

# N members

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from opendet.curate.pool import Level, Pool
from opendet.pools.levels import LEVELS, of_level
from opendet.pools.names import plain
from opendet.pools.purity import Labels

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "assignments.parquet"


@dataclass(frozen=True, slots=True)
class Assignments:
    """N members, in the order in which the pool took them."""

    keys: NDArray[np.object_]
    """(N,) keys of their records."""
    regions: NDArray[np.int32]
    """(N,) indices into those records' regions."""
    vocabulary: tuple[str, ...]
    """The different names, as they were written."""
    names: NDArray[np.int32]
    """(N,) places in the vocabulary."""
    coarse: NDArray[np.int32]
    """(N,) rows of the pool's coarse prototypes."""
    fine: NDArray[np.int32]
    """(N,) rows of its fine ones; -1 for noise."""

    def __len__(self) -> int:
        return len(self.names)

    def written(self, rows: NDArray[np.intp]) -> list[str]:
        """The names of these members."""
        return [self.vocabulary[name] for name in self.names[rows]]

    def clusters(self, level: Level) -> NDArray[np.int32]:
        return self.coarse if level == "coarse" else self.fine


@dataclass(frozen=True, slots=True)
class PlainNames:
    """Members' and prototypes' names, numbered by their plain forms."""

    members: Labels
    """(N,)"""
    coarse: Labels
    """(K,); -1 for a name that no member has."""
    fine: Labels
    """(P,)"""

    def prototypes(self, level: Level) -> Labels:
        return self.coarse if level == "coarse" else self.fine


def assignments_of(folder: Path, pool: Pool) -> Assignments | None:
    """None for a pool that was made before they were kept. Raises ValueError, in one line, for a
    file that is none, or that is of another pool."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / FILE
    if not path.is_file():
        return None
    try:
        found = of_table(pq.read_table(path))
    except (pa.ArrowException, KeyError, OSError, AttributeError) as error:
        said = " ".join(str(error).split())
        raise ValueError(f"{path} holds no assignments ({said}): build prototypes again") from error
    _require_rows(found.coarse, len(pool.coarse), least=0, path=path)
    _require_rows(found.fine, len(pool.fine), least=-1, path=path)
    return found


def of_table(table: "pa.Table") -> Assignments:
    """Of the columns that `opendet.curate.pool` tells of."""
    import pyarrow as pa

    named = table["name"].cast(pa.string()).combine_chunks().dictionary_encode()
    return Assignments(
        keys=table["key"].to_numpy(),
        regions=table["region"].to_numpy(),
        vocabulary=tuple(named.dictionary.to_pylist()),
        names=named.indices.to_numpy(),
        coarse=table["coarse"].to_numpy(),
        fine=table["fine"].to_numpy(),
    )


def plain_names(pool: Pool, assignments: Assignments) -> PlainNames:
    """Names whose plain forms are equal get one number."""
    numbers: dict[str, int] = {}
    own = _numbered(assignments.vocabulary, numbers)
    coarse, fine = (
        np.array(
            [numbers.get(plain(one.medoid.name), -1) for one in of_level(pool, level)], np.int32
        )
        for level in LEVELS
    )
    return PlainNames(own[assignments.names], coarse, fine)


def _numbered(names: Iterable[str], numbers: dict[str, int]) -> NDArray[np.int32]:
    return np.array([numbers.setdefault(plain(name), len(numbers)) for name in names], np.int32)


def _require_rows(rows: Labels, count: int, *, least: int, path: Path) -> None:
    if len(rows) and not (least <= rows.min() and rows.max() < count):
        raise ValueError(
            f"{path} names rows {rows.min()} to {rows.max()} of {count} prototypes: it is of "
            "another pool, build prototypes again"
        )


def members_of(row: int, level: Level, assignments: Assignments) -> Mapping[str, int]:
    """The names of a prototype's members, as written, and their counts; the commonest first."""
    inside = assignments.names[assignments.clusters(level) == row]
    numbers, counts = np.unique(inside, return_counts=True)
    order = np.lexsort((numbers, -counts))
    return {assignments.vocabulary[numbers[one]]: int(counts[one]) for one in order}
