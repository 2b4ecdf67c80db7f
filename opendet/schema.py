"""The contract of a record on disk: a versioned Arrow schema, and the same record as JSON.

Both round trips are exact. A file of a later schema version is refused with one line; version 1
lacks what version 2 added, all of which may be left out.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from opendet.record import Record

SCHEMA_VERSION = 2
"""What is written: 2 added masks, verdicts, tags, conversations, absent and partial names."""
_READ_VERSIONS = ("1", "2")
_VERSION_KEY = b"opendet.record_version"

_PROVENANCE = pa.struct(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
    ]
)

_MASK = pa.struct(
    [
        pa.field("counts", pa.string(), nullable=False),
        pa.field("mask_from", _PROVENANCE, nullable=False),
    ]
)

_TURN = pa.struct(
    [
        pa.field("speaker", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ]
)

_NAME_JUDGEMENT = pa.struct(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("judged_from", _PROVENANCE, nullable=False),
    ]
)

_PHRASE = pa.struct(
    [
        pa.field("start", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("regions", pa.list_(pa.int32()), nullable=False),
        pa.field("grounded_from", _PROVENANCE, nullable=False),
    ]
)

_REGION = pa.struct(
    [
        pa.field("box_xyxy", pa.list_(pa.float64(), 4), nullable=False),
        pa.field("box_from", _PROVENANCE, nullable=False),
        pa.field("label", pa.string()),
        pa.field("other_labels", pa.list_(pa.string()), nullable=False),
        pa.field("crowd", pa.bool_(), nullable=False),
        pa.field("mask", _MASK),
        pa.field("names", pa.list_(pa.string()), nullable=False),
        pa.field("names_from", _PROVENANCE),
        pa.field("description", pa.string(), nullable=False),
        pa.field("description_from", _PROVENANCE),
        pa.field("agreement", pa.float64()),
        pa.field("rival", pa.string(), nullable=False),
        pa.field("rival_agreement", pa.float64()),
        pa.field("agreement_from", _PROVENANCE),
        pa.field("seconded", pa.float64()),
        pa.field("name_checked", _PROVENANCE),
        pa.field("box_checked", _PROVENANCE),
        pa.field("refusal", pa.string(), nullable=False),
    ]
)

RECORD_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("batch", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("licence", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("phash", pa.string(), nullable=False),
        pa.field("near_duplicate_of", pa.string(), nullable=False),
        pa.field("source_captions", pa.list_(pa.string()), nullable=False),
        pa.field("caption", pa.string(), nullable=False),
        pa.field("caption_from", _PROVENANCE),
        pa.field("phrases", pa.list_(_PHRASE), nullable=False),
        pa.field("regions", pa.list_(_REGION), nullable=False),
        pa.field("tags", pa.list_(pa.string()), nullable=False),
        pa.field("tags_from", _PROVENANCE),
        pa.field("conversation", pa.list_(_TURN), nullable=False),
        pa.field("absent", pa.list_(_NAME_JUDGEMENT), nullable=False),
        pa.field("partial", pa.list_(_NAME_JUDGEMENT), nullable=False),
    ],
    metadata={_VERSION_KEY: str(SCHEMA_VERSION).encode()},
)

_RECORD: TypeAdapter[Record] = TypeAdapter(Record)
_RECORDS: TypeAdapter[list[Record]] = TypeAdapter(list[Record])


@dataclass(frozen=True, slots=True)
class _Head:
    """Of a record's JSON what says how to read the rest."""

    record_version: Literal[1, 2]


_HEAD_JSON = msgspec.json.Decoder(_Head)
_RECORD_JSON = msgspec.json.Decoder(Record)


def records_to_table(records: Sequence[Record]) -> pa.Table:
    """Records, in their order, as an Arrow table of `RECORD_SCHEMA`."""
    return pa.Table.from_pylist(
        [msgspec.to_builtins(record) for record in records], schema=RECORD_SCHEMA
    )


def table_to_records(table: pa.Table, *, where: str = "the table") -> list[Record]:
    """The records of a table. Raises ValueError, naming `where`, for another schema."""
    version = (table.schema.metadata or {}).get(_VERSION_KEY, b"none").decode()
    _check_version(version, where)
    try:
        return _RECORDS.validate_python(table.to_pylist())
    except ValidationError as error:
        raise ValueError(f"{where}: {_first_problem(error)}") from error


def write_records(path: Path, records: Sequence[Record]) -> None:
    """Write a Parquet file; the same records give the same bytes."""
    write_table(path, records_to_table(records))


def write_table(path: Path, table: pa.Table, *, compression: str = "zstd", **how: Any) -> None:
    """By a file of Python's, whose errors have numbers: Arrow's own closes with words alone."""
    with path.open("wb") as file:
        pq.write_table(table, file, compression=compression, **how)


def read_records(path: Path) -> list[Record]:
    """The records of a Parquet file. Raises ValueError, in one line, for any other file."""
    try:
        table = pq.read_table(path)
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        first_line = str(error).splitlines()[0]
        raise ValueError(f"{path} is no readable Parquet file: {first_line}") from error
    return table_to_records(table, where=str(path))


def record_to_json(record: Record) -> str:
    """One line of JSON with sorted keys, as a shard holds it."""
    fields = {"record_version": SCHEMA_VERSION, **msgspec.to_builtins(record)}
    return json.dumps(fields, sort_keys=True, ensure_ascii=False, allow_nan=False)


def record_from_json(text: str | bytes, *, where: str = "the JSON") -> Record:
    """Back from `record_to_json`. Raises ValueError, in one line that names `where`, for all that
    it could not have written: another form or version, a number that is none, half a character."""
    written = _as_written(text)
    return _as_judged(text, where) if written is None else written


def _as_written(text: str | bytes) -> Record | None:
    """The record at a fifth of pydantic's cost; None for all that is not of the very types that
    `record_to_json` writes, of which pydantic takes some and says what is wrong with the others."""
    try:
        _HEAD_JSON.decode(text)
        return _RECORD_JSON.decode(text)
    except (ValueError, RecursionError):
        return None


def _as_judged(text: str | bytes, where: str) -> Record:
    try:
        fields: Any = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{where} is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{where} holds no record: expected an object")
    _check_version(str(fields.pop("record_version", "none")), where)
    try:
        record = _RECORD.validate_python(fields)
    except ValidationError as error:
        raise ValueError(f"{where}: {_first_problem(error)}") from error
    try:
        record_to_json(record).encode()
    except ValueError as error:
        raise ValueError(f"{where} holds what no record may: {error}") from error
    return record


def _check_version(version: str, where: str) -> None:
    if version not in _READ_VERSIONS:
        raise ValueError(
            f"{where} has record version {version}, this Open-Det reads "
            f"{' and '.join(_READ_VERSIONS)}: build the stage again"
        )


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(step) for step in first['loc'])}: {first['msg']}"
