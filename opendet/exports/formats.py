"""The formats that a build can be exported to."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from opendet.build import Build
from opendet.exports.coco import write_coco
from opendet.exports.csv_file import write_csv
from opendet.exports.fiftyone import write_fiftyone
from opendet.exports.generateu import write_generateu
from opendet.exports.grit import write_grit
from opendet.exports.groundingcap import CapRules
from opendet.exports.huggingface import write_huggingface
from opendet.exports.lvis import write_lvis
from opendet.exports.odvg import ALL, write_odvg
from opendet.exports.shard_records import ShardRecords
from opendet.exports.voc import write_voc
from opendet.exports.with_images import PLACES, write_with_images, write_without_images
from opendet.exports.yolo import write_yolo
from opendet.record import Record

Writer = Callable[[Iterable[Record], Path], Counter[str]]
"""Writes records, which it may read again and again, into a folder; counts what the format has no
place for. Regions that the stage `filter` refused are left out."""
ShardWriter = Callable[[ShardRecords, Path, Build], Counter[str]]
"""The same of a build's shards, where the images may be written too."""

WRITERS: Mapping[str, Writer] = {
    "coco": write_coco,
    "lvis": write_lvis,
    "voc": write_voc,
    "yolo": write_yolo,
    "csv": write_csv,
    "generateu": write_generateu,
    "groundingcap": partial(write_odvg, dialect="groundingcap"),
    "odvg-mmdet": partial(write_odvg, dialect="odvg-mmdet"),
    "odvg-opengdino": partial(write_odvg, dialect="odvg-opengdino"),
    "grit": write_grit,
}
PICTURED: Mapping[str, ShardWriter] = {
    "huggingface": write_huggingface,
    "fiftyone": write_fiftyone,
}
"""Those that always hold the images."""


def shard_writer_of(name: str, rules: CapRules = ALL, *, images: str = "none") -> ShardWriter:
    """Raises ValueError for a format that is none of these, that knows no such rules, or whose
    images are not written so."""
    if images not in ("none", "copy", "link"):
        raise ValueError(f"--images is none, copy or link, not {images!r}")
    if images != "none" and name not in PLACES:
        raise ValueError(f"--images is for {', '.join(PLACES)}: leave it out for {name}")
    if name in PICTURED and rules == ALL:
        return PICTURED[name]
    write = writer_of(name, rules)
    if images == "none":
        return partial(write_without_images, write=write)
    return partial(write_with_images, write=write, places=PLACES[name], link=images == "link")


def writer_of(name: str, rules: CapRules = ALL) -> Writer:
    """Of a format that can do without images. Raises ValueError like `shard_writer_of`."""
    if name not in (*WRITERS, *PICTURED):
        there = ", ".join((*WRITERS, *PICTURED))
        raise ValueError(f"no format is called {name!r}; there are {there}")
    if rules == ALL:
        return WRITERS[name]
    if name != "groundingcap":
        raise ValueError(
            f"--min-boxes and --max-iou are rules of groundingcap: leave them out for {name}"
        )
    return partial(write_odvg, dialect="groundingcap", rules=rules)
