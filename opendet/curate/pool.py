"""The prototype pool on disk and in memory: two levels of named unit vectors (DeCo-DETR).

A pool's folder holds

    pool.safetensors     the vectors: `coarse` (K, D) and `fine` (P, D), float32, unit rows
    pool.parquet         what is known of each row, K coarse ones, then P fine ones
    assignments.parquet  what became of each vector that the pool was made of, in the parts' order:
                         key (string), region (int32) and name (dictionary of strings) of its
                         region; coarse (int32), its cluster's row in `coarse`; fine (int32), its
                         row in `fine`, or -1: noise, or a dense spot too small to be kept
    health.json          how many there are, and how good the pool is

Vectors that were zero or not finite are in no file but counted in the health.
"""

# K coarse and P fine prototypes, D width

import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from opendet.files import write_durably, write_json_durably

if TYPE_CHECKING:
    import pyarrow as pa

Level = Literal["coarse", "fine"]


@dataclass(frozen=True, slots=True)
class Member:
    """A region whose vector went into the pool."""

    key: str
    """Of its record."""
    region: int
    """Its index in the record's regions."""
    name: str
    """Its first name."""
    text: str = ""
    """What is said of it in a sentence."""


@dataclass(frozen=True, slots=True)
class Prototype:
    """What is known of one row of the pool."""

    level: Level
    index: int
    """Row in the vectors of its level."""
    parent: int
    """Index of a fine prototype's coarse one; -1 for a coarse one."""
    size: int
    """Number of vectors that it is the mean of."""
    medoid: Member
    """The member nearest to the prototype; its name is the prototype's."""
    purity: float = 1.0
    """Share of its vectors whose names are the prototype's."""


@dataclass(frozen=True, slots=True)
class PoolHealth:
    """Whether a pool is any good. Shares and accuracies are in [0, 1], cosines in [-1, 1]."""

    vectors: int
    """Vectors that the pool was made of."""
    left_out_not_finite: int
    left_out_zero: int
    coarse_asked: int
    coarse: int
    """Less than was asked for where there are fewer distinct vectors."""
    fine_asked: int | None
    """None for as many as there are."""
    fine_found: int
    """Dense spots, of which the largest are kept."""
    fine: int
    eps: float
    """Cosine distance of neighbours as used in the end; of `auto` the median over coarse ones."""
    eps_rounds: int
    """Times that it shrank, for there were too few dense spots."""
    noise_share: float
    """Vectors in no dense spot, so in no fine prototype."""
    cut_share: float
    """Vectors in dense spots that were too small to be kept."""
    names: int
    """Distinct names of the vectors."""
    names_covered: int
    """Of these, names that a fine prototype has."""
    mean_pairwise_cosine: float | None
    """Of the fine prototypes; 1 is a collapsed pool. None with fewer than two."""
    nearest_name_accuracy: float
    """Vectors whose nearest prototype has their name; a fine one, where the pool has any. Of many
    vectors a hundred thousand are asked, evenly spread."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Two levels of named unit vectors."""

    coarse: NDArray[np.float32]
    """(K, D)"""
    fine: NDArray[np.float32]
    """(P, D); P may be 0."""
    prototypes: tuple[Prototype, ...]
    """K coarse ones, then P fine ones, in the order of the rows."""
    health: PoolHealth
    assignments: "pa.Table | None" = field(default=None, compare=False, repr=False)
    """What became of each vector, where the pool was just made: `read_pool` leaves it on disk."""


def write_pool(folder: Path, pool: Pool) -> None:
    """Write a pool's files, the assignments where it has them; equal pools give equal bytes."""
    from safetensors.numpy import save

    write_durably(
        folder / "pool.safetensors",
        save(
            {"coarse": np.ascontiguousarray(pool.coarse), "fine": np.ascontiguousarray(pool.fine)}
        ),
    )
    write_durably(folder / "pool.parquet", _parquet(_described(pool.prototypes)))
    if pool.assignments is not None:
        write_durably(folder / "assignments.parquet", _parquet(pool.assignments))
    write_json_durably(folder / "health.json", asdict(pool.health))


def read_pool(folder: Path) -> Pool:
    """Raises ValueError, in one line, where the folder holds no whole pool."""
    import pyarrow.parquet as pq
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}: name a pool's, or build prototypes first")
    try:
        vectors = load_file(folder / "pool.safetensors")
        told = pq.read_table(folder / "pool.parquet").to_pylist()
        health = _HEALTH.validate_json((folder / "health.json").read_bytes())
        pool = Pool(vectors["coarse"], vectors["fine"], tuple(map(_prototype, told)), health)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{folder} holds no pool ({reason}): build prototypes again") from error
    if pool.coarse.ndim != 2 or pool.fine.shape[1:] != pool.coarse.shape[1:]:
        raise ValueError(
            f"{folder}: coarse vectors of shape {pool.coarse.shape} and fine ones of "
            f"{pool.fine.shape} have no one width: build prototypes again"
        )
    levels = ("coarse",) * len(pool.coarse) + ("fine",) * len(pool.fine)
    rows = (*range(len(pool.coarse)), *range(len(pool.fine)))
    if [(one.level, one.index) for one in pool.prototypes] != list(zip(levels, rows, strict=True)):
        raise ValueError(
            f"{folder}: {len(pool.prototypes)} rows are described, but there are "
            f"{len(pool.coarse)} coarse and {len(pool.fine)} fine vectors, or in another order: "
            "build prototypes again"
        )
    return pool


_HEALTH: TypeAdapter[PoolHealth] = TypeAdapter(PoolHealth)


def _parquet(table: "pa.Table") -> bytes:
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def _described(prototypes: tuple[Prototype, ...]) -> "pa.Table":
    import pyarrow as pa

    schema = pa.schema(
        [
            pa.field("level", pa.string()),
            pa.field("index", pa.int32()),
            pa.field("parent", pa.int32()),
            pa.field("size", pa.int32()),
            pa.field("purity", pa.float64()),
            pa.field("name", pa.string()),
            pa.field("text", pa.string()),
            pa.field("medoid_key", pa.string()),
            pa.field("medoid_region", pa.int32()),
        ]
    )
    rows = [
        {
            "level": prototype.level,
            "index": prototype.index,
            "parent": prototype.parent,
            "size": prototype.size,
            "purity": prototype.purity,
            "name": prototype.medoid.name,
            "text": prototype.medoid.text,
            "medoid_key": prototype.medoid.key,
            "medoid_region": prototype.medoid.region,
        }
        for prototype in prototypes
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def _prototype(row: dict[str, object]) -> Prototype:
    medoid = {
        "key": row["medoid_key"],
        "region": row["medoid_region"],
        "name": row["name"],
        "text": row["text"],
    }
    known = {name: row[name] for name in ("level", "index", "parent", "size", "purity")}
    return _PROTOTYPE.validate_python({**known, "medoid": medoid})


_PROTOTYPE: TypeAdapter[Prototype] = TypeAdapter(Prototype)
