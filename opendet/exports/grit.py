"""GRIT, as Kosmos-2 has it: a caption whose noun chunks and referring expressions have boxes.

Its files are `grit_<split>.parquet` or `grit_<split>.jsonl`.
Grounded phrases become noun chunks. A region's description becomes a referring expression where the
caption has its words; GRIT has no other place for it. A record whose caption speaks of no region
gets the list of its regions' names for a caption.

A row's `key` is the image's path, without its suffix where that is `.jpg`; of an image that
img2dataset named, in whatever folder, the name alone, as in its own files.

What GRIT has and a record has not: CLIP's similarities are null, `url` is empty, `id` is the
record's key, a box without a score has 1.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from opendet.exports.grounding import (
    Grounding,
    Regions,
    count_captions,
    count_unsaid,
    count_words,
    exported_regions,
    grounding_of,
    own_grounding,
)
from opendet.exports.objects import written_images
from opendet.exports.whole_files import whole_files
from opendet.record import Record, Region
from opendet.sources.odvg import Span, find_words

SURE = 1.0
"""The score of a box that people drew."""
ROW_GROUP = 4096
"""Rows in memory at a time."""
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_IMG2DATASET_KEY = re.compile(r"[0-9]{9,}")  # the shard and the number in it
_CHUNKS = pa.list_(pa.list_(pa.float64()))
Row = dict[str, Any]
FileOf = Callable[[str], BinaryIO]
_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("clip_similarity_vitb32", pa.float64()),
        ("clip_similarity_vitl14", pa.float64()),
        ("id", pa.string()),
        ("url", pa.string()),
        ("caption", pa.string()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("noun_chunks", _CHUNKS),
        ("ref_exps", _CHUNKS),
    ]
)


def write_grit(
    records: Iterable[Record], folder: Path, *, form: Literal["parquet", "jsonl"] = "parquet"
) -> Counter[str]:
    """Write the records, a row each, and count what GRIT has no place for."""
    left_out: Counter[str] = Counter()
    chosen = written_images(records, left_out, place=key_of)
    rows = ((record.split, row_of(record, left_out)) for record in chosen)
    with whole_files(folder) as file_of:
        if form == "parquet":
            _write_parquet(rows, file_of)
        else:
            _write_lines(rows, file_of)
    return +left_out


def row_of(record: Record, left_out: Counter[str]) -> Row:
    """A record's row; adds to `left_out`."""
    regions = exported_regions(record, left_out)
    grounding = _grounding_of(record, regions, left_out)
    chunks = [
        _chunk(span, regions[number], record)
        for one in grounding.spoken
        for span in one.spans
        for number in one.regions
    ]
    found = {n: find_words(grounding.caption, one.description) for n, one in regions.items()}
    expressed = {number: span for number, span in found.items() if span}
    count_unsaid(regions, grounding.regions | expressed.keys(), left_out)
    said = {number: list(texts) for number, texts in grounding.words.items()}
    for number, (start, end) in expressed.items():
        said.setdefault(number, []).append(grounding.caption[start:end])
    count_words(regions, said, left_out)
    left_out["tag"] += len(record.tags)
    left_out["conversation"] += bool(record.conversation)
    count_captions(record, [grounding.caption], left_out)
    return {
        "key": key_of(record.file),
        "clip_similarity_vitb32": None,
        "clip_similarity_vitl14": None,
        "id": record.key,
        "url": "",
        "caption": grounding.caption,
        "width": record.width,
        "height": record.height,
        "noun_chunks": chunks,
        "ref_exps": [_chunk(span, regions[n], record) for n, span in expressed.items()],
    }


def key_of(file: str) -> str:
    """What readers call the image: they put `.jpg` behind a key that does not end like an image."""
    path = PurePosixPath(file)
    stem = path.with_suffix("")
    if path.suffix != ".jpg" or stem.suffix.lower() in IMAGE_SUFFIXES:
        return file
    return stem.name if _IMG2DATASET_KEY.fullmatch(stem.name) else str(stem)


def _grounding_of(record: Record, regions: Regions, left_out: Counter[str]) -> Grounding:
    """A caption that only descriptions are found in is kept like one with phrases."""
    described = any(find_words(record.caption, one.description) for one in regions.values())
    if described and own_grounding(record, regions) is None:
        left_out["phrase"] += len(record.phrases)
        left_out["absent"] += len(record.absent)
        return Grounding(record.caption, ())
    return grounding_of(record, regions, left_out)


def _chunk(span: Span, region: Region, record: Record) -> list[float]:
    x0, y0, x1, y1 = region.box_xyxy
    width, height = record.width, record.height
    score = region.box_from.score
    corners = (x0 / width, y0 / height, x1 / width, y1 / height)
    return [*span, *corners, SURE if score is None else score]


def _write_lines(rows: Iterable[tuple[str, Row]], file_of: FileOf) -> None:
    for split, row in rows:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False)
        file_of(f"grit_{split}.jsonl").write(text.encode() + b"\n")


def _write_parquet(rows: Iterable[tuple[str, Row]], file_of: FileOf) -> None:
    writers: dict[str, pq.ParquetWriter] = {}
    held: defaultdict[str, list[Row]] = defaultdict(list)
    with ExitStack() as stack:
        for split, row in rows:
            if split not in writers:
                file = file_of(f"grit_{split}.parquet")
                writer = pq.ParquetWriter(file, _SCHEMA, compression="snappy")
                writers[split] = stack.enter_context(writer)
            held[split].append(row)
            if len(held[split]) == ROW_GROUP:
                writers[split].write_table(_table(held.pop(split)))
        for split, rest in held.items():
            writers[split].write_table(_table(rest))


def _table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=_SCHEMA)
