"""GenerateU's training files, `generateu_<split>.json`: COCO's JSON with free names.

Every box is of the one category `object`; its name is in `object_name`, with a comma and a space
between synonyms, of which training draws one. A comma in a name becomes a space.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

from opendet.exports.coco import INFO, Licences, image_row, xywh_of
from opendet.exports.json_lists import SplitLists
from opendet.exports.objects import NamedObject, Sayable, exported
from opendet.record import Record
from opendet.sources.generateu import SYNONYM_SEPARATOR

SAID: frozenset[Sayable] = frozenset({"crowd", "other label", "licence"})


def write_generateu(records: Iterable[Record], folder: Path) -> Counter[str]:
    """Write the records, which are read twice, and count what GenerateU has no place for."""
    left_out: Counter[str] = Counter()
    licences = _licences(records)
    head = {
        "info": INFO,
        "licenses": licences.rows(),
        "categories": [{"id": 1, "name": "object"}],
    }
    ids = count(1)
    lists = ("images", "annotations")
    with SplitLists(folder, "generateu", head=head, lists=lists) as files:
        chosen = exported(records, left_out, said=SAID)
        for image_id, (record, objects) in enumerate(chosen, 1):
            files.add(record.split, "images", image_row(record, image_id, licences.ids))
            for one in objects:
                if not (name := _object_name(one, left_out)):
                    left_out["box without name"] += 1
                    continue
                box_xywh = xywh_of(one.region.box_xyxy)
                row = {"id": next(ids), "image_id": image_id, "category_id": 1, "bbox": box_xywh}
                row |= {"area": round(box_xywh[2] * box_xywh[3], 3)}
                row |= {"iscrowd": int(one.region.crowd), "object_name": name}
                files.add(record.split, "annotations", row)
    return +left_out


def _object_name(one: NamedObject, left_out: Counter[str]) -> str:
    """All names in one text; empty where they are made of commas alone."""
    names = (one.name, *one.other_names)
    left_out["comma in a name"] += sum("," in name for name in names)
    plain = (" ".join(name.replace(",", " ").split()) for name in names)
    return SYNONYM_SEPARATOR.join(dict.fromkeys(name for name in plain if name))


def _licences(records: Iterable[Record]) -> Licences:
    assert not isinstance(records, Iterator), "an iterator is empty when it is read again"
    licences = Licences()
    for record in records:
        licences.add(record)
    return licences
