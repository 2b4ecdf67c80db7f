"""A shard's CLIP vectors on disk: one Parquet file beside its records."""

# N regions of a shard, D width of CLIP's space

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from opendet.curate.embed import EmbeddedRecord, Floats
from opendet.record import Record
from opendet.schema import write_table


@dataclass(frozen=True, slots=True)
class Vectors:
    """The vectors of a shard's named regions, in the order of its records and their regions."""

    keys: tuple[str, ...]
    """N keys of records."""
    regions: NDArray[np.int32]
    """(N,) indices into those records' regions."""
    crops: Floats
    """(N, D) unit rows, to float16's precision."""
    texts: Floats
    """(N, D) unit rows, to float16's precision."""


def write_vectors(path: Path, items: Sequence[EmbeddedRecord]) -> None:
    """The same items give the same bytes. Without any item D is unknown, and written as 1."""
    keys = [item.key for item in items for _ in item.regions]
    regions = [index for item in items for index in item.regions]
    columns = {
        "key": pa.array(keys, pa.string()),
        "region": pa.array(regions, pa.int32()),
        "crop": _as_lists([item.crops for item in items]),
        "text": _as_lists([item.texts for item in items]),
    }
    write_table(path, pa.table(columns))


def read_vectors(path: Path) -> Vectors:
    """Raises ValueError, in one line, for a file that `write_vectors` did not write."""
    try:
        table = pq.read_table(path)
        keys = tuple(table["key"].to_pylist())
        regions = table["region"].to_numpy().astype(np.int32)
        crops, texts = (_as_rows(table[name]) for name in ("crop", "text"))
    except (pa.ArrowException, KeyError, OSError) as error:
        said = " ".join(str(error).split())
        raise ValueError(f"{path} holds no vectors ({said}): build the stage `embed`") from error
    return Vectors(keys, regions, crops, texts)


def with_vectors(records: Sequence[Record], vectors: Vectors) -> list[EmbeddedRecord]:
    """The records of a shard with their rows of its vectors: what `write_vectors` was given.

    Raises ValueError where rows belong to no record.
    """
    rows: dict[str, list[int]] = {record.key: [] for record in records}
    for number, key in enumerate(vectors.keys):
        if key not in rows:
            raise ValueError(f"vectors of {key}, which is no record of the shard: build it again")
        rows[key].append(number)
    return [
        EmbeddedRecord(
            record,
            tuple(int(index) for index in vectors.regions[rows[record.key]]),
            vectors.crops[rows[record.key]].astype(np.float16),
            vectors.texts[rows[record.key]].astype(np.float16),
        )
        for record in records
    ]


def _as_lists(blocks: Sequence[NDArray[np.float16]]) -> pa.Array:
    # Blocks without a row know no width once they were read back.
    full = [block for block in blocks if len(block)]
    rows = np.concatenate(full) if full else np.zeros((0, 0), np.float16)
    return pa.FixedSizeListArray.from_arrays(
        pa.array(rows.reshape(-1), pa.float16()), max(1, rows.shape[1])
    )


def _as_rows(column: pa.ChunkedArray) -> Floats:
    width = column.type.list_size
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    rows: Floats = flat.astype(np.float32).reshape(-1, width)
    return rows
