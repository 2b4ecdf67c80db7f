"""Hugging Face `datasets`: Parquet with the images inside, for `datasets.load_dataset(<folder>)`.

data/<split>-00000-of-000NN.parquet   a row an image, in files of about half a gigabyte
README.md, croissant.json             the data set's card

Objects are as the `transformers` guides to object detection have them: lists of `id`, `area`,
`bbox` and `category`, boxes as COCO's corner and size in pixels, categories as class labels whose
names the file's own header holds. Neither `datasets` nor the network is needed to write them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from opendet.build import Build
from opendet.cards.about_build import about_build
from opendet.cards.dataset_card import write_dataset_cards
from opendet.curate.shards import without_refused
from opendet.exports.coco import xywh_of
from opendet.exports.huggingface_schema import schema_of
from opendet.exports.objects import NamedObject, Sayable, captions_of, exported
from opendet.exports.shard_records import ShardRecords, without_refusals
from opendet.record import Record
from opendet.sources.listing import clean_text

SAID: frozenset[Sayable] = frozenset(
    {
        *("crowd", "mask", "other label", "description", "score", "agreement", "caption"),
        *("source caption", "phrase", "tag", "absent", "partial", "licence"),
    }
)
FILE_BYTES = 500 << 20
"""From so many bytes of images on, the next file begins."""
GROUP_BYTES, GROUP_ROWS = 32 << 20, 256
"""Of images held in memory before they are written: a row group, which readers load as one."""

Row = dict[str, Any]


def write_huggingface(
    records: ShardRecords, folder: Path, build: Build, *, file_bytes: int = FILE_BYTES
) -> Counter[str]:
    """Write the records and their images, with the card of the build; counts what has no place.

    Raises ValueError, in one line, where there is no image to write.
    """
    left_out: Counter[str] = Counter()
    names = sorted(_names(records))
    classes = {name: number for number, name in enumerate(names)}
    splits: set[str] = set()
    ids = count()
    with SplitFiles(folder / "data", schema_of(names), file_bytes) as files:
        for record, objects in exported(records, left_out, said=SAID, by_key=True):
            splits.add(record.split)
            content = records.content_of(record)
            image = {"bytes": content, "path": f"{record.key}.{record.format}"}
            row = {"image": image, **_row_of(record, objects, classes, ids)}
            files.add(record.split, row, len(content))
    if not splits:
        raise ValueError("the shards have no image that could be exported")
    change = without_refusals if records.refused else without_refused
    write_dataset_cards(folder, about_build(build, splits=sorted(splits), change=change))
    return +left_out


def _names(records: Iterable[Record]) -> set[str]:
    """Of all objects."""
    chosen = exported(records, Counter(), said=SAID, by_key=True)
    return {one.name for _, objects in chosen for one in objects}


def _row_of(
    record: Record,
    objects: Sequence[NamedObject],
    classes: Mapping[str, int],
    ids: Iterator[int],
) -> Row:
    """All but the image."""
    return {
        "key": record.key,
        "width": record.width,
        "height": record.height,
        "objects": _objects(objects, classes, ids),
        "caption": record.caption,
        "captions": list(captions_of(record)),
        "phrases": _phrases(record, objects),
        "tags": list(record.tags),
        "absent": [clean_text(one.name) for one in record.absent],
        "partial": [clean_text(one.name) for one in record.partial],
        "source": record.source,
        "file": record.file,
        "licence": record.licence,
    }


def _objects(
    objects: Sequence[NamedObject], classes: Mapping[str, int], ids: Iterator[int]
) -> dict[str, list[Any]]:
    boxes_xywh = [xywh_of(one.region.box_xyxy) for one in objects]
    regions = [one.region for one in objects]
    return {
        "id": [next(ids) for _ in objects],
        "bbox": boxes_xywh,
        "area": [round(width * height, 3) for _, _, width, height in boxes_xywh],
        "category": [classes[one.name] for one in objects],
        "other_names": [list(one.other_names) for one in objects],
        "iscrowd": [one.crowd for one in regions],
        "description": [one.description for one in regions],
        "score": [one.box_from.score for one in regions],
        "agreement": [one.agreement for one in regions],
        "segmentation": [one.mask.counts if one.mask else None for one in regions],
    }


def _phrases(record: Record, objects: Sequence[NamedObject]) -> list[Row]:
    """With the places of their objects in the row; those that are not exported go from the list."""
    places = {id(one.region): place for place, one in enumerate(objects)}
    return [
        {
            "text": record.caption[phrase.start : phrase.end],
            "start": phrase.start,
            "end": phrase.end,
            "objects": [
                places[id(record.regions[number])]
                for number in phrase.regions
                if id(record.regions[number]) in places
            ],
        }
        for phrase in record.phrases
    ]


class SplitFiles:
    """`<split>-00000-of-000NN.parquet`, NN being known at the end: a context."""

    def __init__(self, folder: Path, schema: pa.Schema, file_bytes: int) -> None:
        self._folder, self._schema, self._file_bytes = folder, schema, file_bytes
        self._splits: dict[str, _SplitFile] = {}
        folder.mkdir(parents=True)

    def add(self, split: str, row: Row, size: int) -> None:
        """A further row of a split, of so many bytes."""
        if split not in self._splits:
            self._splits[split] = _SplitFile(self._folder, split, self._schema, self._file_bytes)
        self._splits[split].add(row, size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        for split in self._splits.values():
            split.close(whole=kind is None)


class _SplitFile:
    """The files of one split, one of them open."""

    def __init__(self, folder: Path, split: str, schema: pa.Schema, file_bytes: int) -> None:
        self._folder, self._split, self._schema = folder, split, schema
        self._file_bytes = file_bytes
        self._writer: pq.ParquetWriter | None = None
        self._rows: list[Row] = []
        self._held = 0
        self._written = 0
        self._paths: list[Path] = []

    def add(self, row: Row, size: int) -> None:
        self._rows.append(row)
        self._held += size
        whole = self._written + self._held >= self._file_bytes
        if whole or self._held >= GROUP_BYTES or len(self._rows) >= GROUP_ROWS:
            self._write_group()
        if whole:
            self._end_file()

    def close(self, *, whole: bool) -> None:
        if whole and self._rows:
            self._write_group()
        self._end_file()
        if whole:
            for number, path in enumerate(self._paths):
                name = f"{self._split}-{number:05d}-of-{len(self._paths):05d}.parquet"
                path.rename(self._folder / name)

    def _write_group(self) -> None:
        if self._writer is None:
            self._paths.append(self._folder / f".{self._split}-{len(self._paths)}")
            self._writer = pq.ParquetWriter(self._paths[-1], self._schema, compression="zstd")
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._written += self._held
        self._rows, self._held = [], 0

    def _end_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._written = None, 0
