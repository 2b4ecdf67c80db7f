"""Reads as much of a part's file of records as is whole, and says what is not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from opendet.inspect.part_keys import record_keys
from opendet.inspect.pieces import Piece, Trouble
from opendet.record import Record
from opendet.sample import Sample
from opendet.schema import table_to_records
from opendet.sources.image_files import ImageFiles

_AT_ONCE = 500
"""Records; as Python objects they weigh some 10 KB each."""
UNREADABLE = (OSError, ValueError, pa.ArrowException)
"""What Arrow raises for a damaged file; some of its errors are of its own kind alone."""


def holds_records(path: Path) -> bool:
    """Whether a Parquet file is one of records, of whatever version. Raises ValueError if it is
    no readable one."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except UNREADABLE as error:
        raise ValueError(f"{path} is no readable Parquet file: {_first_line(error)}") from error
    return b"opendet.record_version" in metadata


def record_count(path: Path) -> int:
    """Raises ValueError, in one line, for a file that is no Parquet."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except UNREADABLE as error:
        raise ValueError(f"{path} is no readable Parquet file: {_first_line(error)}") from error


def part_records(piece: Piece) -> Iterator[Record | Trouble]:
    """The records of a part in its order; what cannot be read of it is left out and named."""
    try:
        file = pq.ParquetFile(piece.path)
    except UNREADABLE as error:
        yield _trouble(piece, error)
        return
    with file:
        for group in range(file.num_row_groups):
            yield from _group_records(file, group, piece)


def part_samples(piece: Piece, images: ImageFiles | None) -> Iterator[Sample | Trouble]:
    """The samples of a part with `content`, as far as their source can be reached."""
    for record in part_records(piece):
        yield record if isinstance(record, Trouble) else _with_picture(record, piece, images)


def find_in_part(piece: Piece, key: str, images: ImageFiles | None) -> Sample | Trouble | None:
    """The sample of a key. Of a damaged part a trouble, if its keys can still be read."""
    try:
        table = pq.read_table(piece.path, filters=[("key", "==", key)])
        records = table_to_records(table, where=piece.path.name) if len(table) else []
    except UNREADABLE:
        return _find_in_damaged(piece, key, images)
    return _with_picture(records[0], piece, images) if records else None


def _find_in_damaged(piece: Piece, key: str, images: ImageFiles | None) -> Sample | Trouble | None:
    """By reading what is whole of a part; its column of keys tells of the rest."""
    for one in part_records(piece):
        if isinstance(one, Record) and one.key == key:
            return _with_picture(one, piece, images)
    try:
        there = key in record_keys(piece.path)
    except ValueError:  # nothing is known of it: reading its records says so
        return None
    return _trouble(piece, ValueError(f"{key} lies where it is damaged")) if there else None


def _group_records(file: Any, group: int, piece: Piece) -> Iterator[Record | Trouble]:
    batches = file.iter_batches(_AT_ONCE, row_groups=[group])
    while True:
        try:
            table = pa.Table.from_batches([next(batches)])
            table.validate(full=True)
        except StopIteration:
            return
        except UNREADABLE as error:
            yield _trouble(piece, error)
            return
        yield from _table_records(table, piece)


def _table_records(table: Any, piece: Piece) -> Iterator[Record | Trouble]:
    """Of all rows at once; where that fails, of each alone."""
    try:
        records = table_to_records(table, where=piece.path.name)
    except ValueError as error:
        if len(table) == 1:
            yield _trouble(piece, error)
            return
        for row in range(len(table)):
            yield from _table_records(table.slice(row, 1), piece)
    else:
        yield from records


def _with_picture(record: Record, piece: Piece, images: ImageFiles | None) -> Sample | Trouble:
    if images is None:
        said = f"the picture of {record.key} is out of reach: no build is around the file"
        return Trouble(piece.path.name, said, record)
    try:
        return Sample(record, content=images.read(record))
    except (OSError, ValueError) as error:
        return Trouble(piece.path.name, _first_line(error), record)


def _trouble(piece: Piece, error: Exception) -> Trouble:
    where = piece.path.name
    return Trouble(where, _first_line(error).removeprefix(f"{where}: "))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
