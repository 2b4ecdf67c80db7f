"""GRIT (Kosmos-2): web captions whose noun chunks and referring expressions have boxes.

Parquet, JSON lines or a JSON list, told by the first bytes. A chunk is [first character, one past
the last, x0, y0, x1, y1, score], its box in [0, 1] of the image. `width` and `height` are those of
the image on the web: img2dataset makes images smaller, so that only the form is compared.

Images lie as img2dataset leaves them: `<key>.jpg`, or `<key[:5]>/<key>.jpg` in a folder a shard. A
key with a folder or an image's suffix, as exports have them, is the path itself.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
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
from opendet.sources.odvg_merge import SharedBoxes
from opendet.typed_json import read_json

_BATCH = 4096  # rows of a Parquet file in memory at a time
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
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

    A noun chunk is a box with a phrase; chunks of one place are one box, which has all their words.
    A referring expression describes the box of its place, or is a box of its own where there is
    none; what else is said of a described box becomes a phrase of the caption.

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
    named = PurePosixPath(row.key).suffix.lower() in _SUFFIXES
    name = row.key if named else f"{row.key}.jpg"
    in_shard = "/" not in name and name not in present and row.key[:_SHARD_DIGITS] in present
    file = f"{row.key[:_SHARD_DIGITS]}/{name}" if in_shard else name
    boxes, phrases = _grounded(row, row.caption or "")
    return replace(
        entry_of(batch, images, file),
        key=key_of(batch, name),
        caption=row.caption or "",
        annotations=boxes,
        phrases=phrases,
        declared_size=(row.width, row.height) if row.width and row.height else None,
        normalised=True,
    )


def _grounded(
    row: _Row, caption: str
) -> tuple[tuple[AnnotatedBox, ...], tuple[AnnotatedPhrase, ...]]:
    """The boxes, each place once, and the phrases that speak of them."""
    shared = SharedBoxes()
    spoken: defaultdict[tuple[int, int], dict[int, None]] = defaultdict(dict)
    for start, end, *corners, score in row.noun_chunks or ():
        label = bare_phrase(_text_of(caption, start, end))
        number = shared.add(AnnotatedBox(_place(corners), label, score=score))
        spoken[start, end][number] = None
    boxes = shared.boxes
    numbers = {box.box_xyxy: number for number, box in enumerate(boxes)}
    for start, end, *corners, score in row.ref_exps or ():
        place, text = _place(corners), _text_of(caption, start, end)
        number = numbers.setdefault(place, len(boxes))
        if number == len(boxes):
            boxes.append(AnnotatedBox(place, "", description=text, score=score))
        elif not boxes[number].description:
            boxes[number] = replace(boxes[number], description=text)
        elif boxes[number].description != text:
            spoken[start, end][number] = None
    phrases = (AnnotatedPhrase(*span, tuple(numbers)) for span, numbers in spoken.items())
    return tuple(boxes), tuple(phrases)


def _text_of(caption: str, start: int, end: int) -> str:
    return caption[start:end] if 0 <= start < end else ""


def _place(corners: Iterable[float]) -> BoxXYXY:
    """Equal boxes are known by it, whatever their last digits."""
    x0, y0, x1, y1 = (round(corner, 9) for corner in corners)
    return x0, y0, x1, y1
