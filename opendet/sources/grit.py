"""GRIT (Kosmos-2): web captions whose noun chunks and referring expressions have boxes.

Parquet, JSON lines or a JSON list, told by the first bytes. A chunk is [first character, one past
the last, x0, y0, x1, y1, score], its box in [0, 1] of the image that `width` and `height` declare.

Images lie as img2dataset leaves them: `<key>.jpg`, or `<key[:5]>/<key>.jpg` in a folder a shard.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BeforeValidator, TypeAdapter, ValidationError

from opendet.record import BoxXYXY
from opendet.sources.listing import (
    MEND,
    AnnotatedBox,
    AnnotatedPhrase,
    Entry,
    entry_of,
    in_order,
    key_of,
)
from opendet.sources.odvg import bare_phrase, first_problem, read_json_lines
from opendet.typed_json import read_json

_BATCH = 4096  # rows of a Parquet file in memory at a time
_SHARD_DIGITS = 5  # of a key: the shard of img2dataset

Chunk = tuple[int, int, float, float, float, float, float]
"""First character, one past the last, x0, y0, x1, y1 in [0, 1], score."""


@dataclass(frozen=True, slots=True)
class _Row:
    key: Annotated[str, BeforeValidator(lambda key: str(key) if isinstance(key, int) else key)]
    caption: str | None
    width: int | None
    height: int | None
    noun_chunks: tuple[Chunk, ...] | None = None
    ref_exps: tuple[Chunk, ...] | None = None


_COLUMNS = ("key", "caption", "width", "height", "noun_chunks", "ref_exps")


def list_grit(root: Path, *, batch: str, images: str, annotations: str) -> list[Entry]:
    """An entry a row. `annotations` is a file, or a folder of Parquet or JSON lines files.

    A noun chunk is a box with a phrase. A referring expression describes the box that it shares
    with a noun chunk, else it is a box of its own. An image without a size has no boxes.

    Raises ValueError, naming file and row, for what is not GRIT.
    """
    present = _names_in(root / images)
    rows = (row for path in _files(root / annotations) for row in _rows(path))
    return in_order(_entry_of(row, batch, images, present) for row in rows)


def _names_in(folder: Path) -> frozenset[str]:
    """Files and folders, one listing of it: a look for each of millions of images takes hours."""
    try:
        with os.scandir(folder) as found:
            return frozenset(item.name for item in found)
    except OSError as error:
        raise ValueError(f"{folder}: {error.strerror}: {MEND}") from error


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in (".parquet", ".jsonl"))
    if not files:
        raise ValueError(f"{path} has no .parquet and no .jsonl file: {MEND}")
    return files


def _rows(path: Path) -> Iterator[_Row]:
    try:
        with path.open("rb") as file:
            start = file.read(64).lstrip()
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: {MEND}") from error
    if start.startswith(b"PAR1"):
        return _parquet_rows(path)
    if start.startswith(b"["):
        return iter(read_json(tuple[_Row, ...], path))
    return (row for _, row in read_json_lines(_Row, path))


def _parquet_rows(path: Path) -> Iterator[_Row]:
    adapter = TypeAdapter(_Row)
    number = 0
    try:
        file = pq.ParquetFile(path)
        missing = sorted(set(_COLUMNS) - set(file.schema_arrow.names))
        if missing:
            raise ValueError(f"{path} has no column {', '.join(missing)}: it is not GRIT's")
        for batch in file.iter_batches(_BATCH, columns=list(_COLUMNS)):
            batch.validate(full=True)
            for row in batch.to_pylist():
                number += 1
                yield adapter.validate_python(row)
    except (pa.ArrowException, OSError) as error:
        first_line = str(error).splitlines()[0]
        raise ValueError(f"{path} is no readable Parquet file: {first_line}") from error
    except ValidationError as error:
        raise ValueError(f"{path}: row {number}: {first_problem(error)}") from error


def _entry_of(row: _Row, batch: str, images: str, present: frozenset[str]) -> Entry:
    name = f"{row.key}.jpg"
    in_shard = name not in present and row.key[:_SHARD_DIGITS] in present
    file = f"{row.key[:_SHARD_DIGITS]}/{name}" if in_shard else name
    entry = replace(
        entry_of(batch, images, file), key=key_of(batch, name), caption=row.caption or ""
    )
    if not (row.width and row.height):
        return entry
    boxes, phrases = _grounded(row, row.width, row.height)
    return replace(entry, annotations=boxes, phrases=phrases, declared_size=(row.width, row.height))


def _grounded(
    row: _Row, width: int, height: int
) -> tuple[tuple[AnnotatedBox, ...], tuple[AnnotatedPhrase, ...]]:
    caption = row.caption or ""
    boxes: list[AnnotatedBox] = []
    spoken: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for start, end, *corners, score in row.noun_chunks or ():
        spoken[start, end].append(len(boxes))
        label = bare_phrase(_text_of(caption, start, end))
        boxes.append(AnnotatedBox(_pixels(corners, width, height), label, score=score))
    free = defaultdict(list)
    for number, box in enumerate(boxes):
        free[_place(box.box_xyxy)].append(number)
    for start, end, *corners, score in row.ref_exps or ():
        box_xyxy = _pixels(corners, width, height)
        text = _text_of(caption, start, end)
        same = free[_place(box_xyxy)]
        if same:
            number = same.pop(0)
            boxes[number] = replace(boxes[number], description=text)
        else:
            boxes.append(AnnotatedBox(box_xyxy, "", description=text, score=score))
    phrases = (AnnotatedPhrase(*span, tuple(numbers)) for span, numbers in spoken.items())
    return tuple(boxes), tuple(phrases)


def _text_of(caption: str, start: int, end: int) -> str:
    return caption[start:end] if 0 <= start < end else ""


def _pixels(corners: Iterable[float], width: int, height: int) -> BoxXYXY:
    x0, y0, x1, y1 = corners
    return (x0 * width, y0 * height, x1 * width, y1 * height)


def _place(box_xyxy: BoxXYXY) -> tuple[float, ...]:
    """By which equal boxes are known, to a thousandth of a pixel."""
    return tuple(round(side, 3) for side in box_xyxy)
