"""COCO: `instances_<split>.json`, and `captions_<split>.json` where an image has captions.

Ids begin with 1 and are alike in no two files of an export, those of categories the same in all.
A box that a model drew has its `score`, as in COCO's lists of results. By an image's
`opendet_key` and `opendet_state` an edited file is known again (`opendet data correct`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from opendet.corrections.comparing import state_of
from opendet.exports.json_lists import SplitLists
from opendet.exports.objects import NamedObject, Sayable, captions_of, exported
from opendet.masks import mask_areas
from opendet.record import BoxXYXY, Record
from opendet.sources.listing import clean_text

INFO = {"description": "Written by Open-Det."}
SAID: frozenset[Sayable] = frozenset(
    {"crowd", "mask", "score", "caption", "source caption", "licence"}
)

Row = dict[str, Any]


@dataclass(slots=True)
class Licences:
    """The licences of some images, as COCO numbers them."""

    ids: dict[str, int] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        if name := clean_text(record.licence):
            self.ids.setdefault(name, len(self.ids) + 1)

    def rows(self) -> list[Row]:
        return [{"id": number, "name": name} for name, number in self.ids.items()]


def write_coco(records: Iterable[Record], folder: Path) -> Counter[str]:
    """Write the records, which are read twice, and count what COCO has no place for."""
    left_out: Counter[str] = Counter()
    categories, licences = _survey(records)
    head = {"info": INFO, "licenses": licences.rows()}
    named = [{"id": number, "name": name} for name, number in categories.items()]
    lists = ("images", "annotations")
    object_ids, caption_ids = count(1), count(1)
    with ExitStack() as stack:
        instances, captions = (
            stack.enter_context(SplitLists(folder, stem, head=first, lists=lists))
            for stem, first in (("instances", {**head, "categories": named}), ("captions", head))
        )
        chosen = exported(records, left_out, said=SAID)
        for image_id, (record, objects) in enumerate(chosen, 1):
            image = image_row(record, image_id, licences.ids)
            image |= {"opendet_key": record.key, "opendet_state": state_of(record)}
            instances.add(record.split, "images", image)
            for one in objects:
                row = annotation_row(one, record, left_out)
                row |= {"id": next(object_ids), "image_id": image_id}
                row |= {"category_id": categories[one.name], "iscrowd": int(one.region.crowd)}
                instances.add(record.split, "annotations", row)
            if texts := captions_of(record):
                captions.add(record.split, "images", image)
            for text in texts:
                row = {"id": next(caption_ids), "image_id": image_id, "caption": text}
                captions.add(record.split, "annotations", row)
    return +left_out


def image_row(record: Record, image_id: int, licences: Mapping[str, int]) -> Row:
    """Of COCO's `images`, as COCO, LVIS and GenerateU have them."""
    row = {
        "id": image_id,
        "file_name": record.file,
        "width": record.width,
        "height": record.height,
    }
    licence = licences.get(clean_text(record.licence))
    return row if licence is None else {**row, "license": licence}


def annotation_row(one: NamedObject, record: Record, left_out: Counter[str]) -> Row:
    """The box, its area, score and mask of an object; a mask that is none is left out, counted."""
    box_xywh = xywh_of(one.region.box_xyxy)
    row: Row = {"bbox": box_xywh, "area": round(box_xywh[2] * box_xywh[3], 3)}
    if (score := one.region.box_from.score) is not None:
        row["score"] = score
    if one.region.mask is None:
        return row
    code = {"size": [record.height, record.width], "counts": one.region.mask.counts}
    try:
        [area] = mask_areas([code])
    except (RuntimeError, ValueError):  # what the library says to codes that are none
        left_out["broken mask"] += 1
        return row
    return {**row, "area": float(area), "segmentation": code}


def xywh_of(box_xyxy: BoxXYXY) -> list[float]:
    """Corner and size, to a thousandth of a pixel, such that their sum is the other corner."""
    x0, y0, x1, y1 = (round(side, 3) for side in box_xyxy)
    return [x0, y0, round(x1 - x0, 3), round(y1 - y0, 3)]


def _survey(records: Iterable[Record]) -> tuple[dict[str, int], Licences]:
    """Name -> id of all categories, sorted, and the licences."""
    assert not isinstance(records, Iterator), "an iterator is empty when it is read again"
    names: set[str] = set()
    licences = Licences()
    for record, objects in exported(records, Counter(), said=SAID):
        names.update(one.name for one in objects)
        licences.add(record)
    return {name: number for number, name in enumerate(sorted(names), 1)}, licences
