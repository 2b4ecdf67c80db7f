"""LVIS v1: `lvis_<split>.json`, COCO's instances with federated lists, synonyms and frequencies.

An image lists the names that were looked for and are not there, and those of which more is there
than has a box. LVIS knows no crowd: such a box is left out, and its name is one of the latter.
Counts of images and objects, and the frequency that follows from them, are of the whole export.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from opendet.exports.coco import INFO, Licences, annotation_row, image_row
from opendet.exports.json_lists import SplitLists
from opendet.exports.objects import NamedObject, Sayable, exported, name_of
from opendet.record import NameJudgement, Record
from opendet.sources.listing import clean_text

MAX_RARE = 10
"""Images; a category that more of them show is common."""
MAX_COMMON = 100
"""Images; a category that more of them show is frequent."""
SAID: frozenset[Sayable] = frozenset(
    {"mask", "score", "other label", "absent", "partial", "licence"}
)


@dataclass(slots=True)
class _Category:
    """What the export has of one name."""

    images: int = 0
    objects: int = 0
    synonyms: dict[str, None] = field(default_factory=dict)
    """In the order in which they came."""

    @property
    def frequency(self) -> str:
        if self.images <= MAX_RARE:
            return "r"
        return "c" if self.images <= MAX_COMMON else "f"


def write_lvis(records: Iterable[Record], folder: Path) -> Counter[str]:
    """Write the records, which are read twice, and count what LVIS has no place for."""
    left_out: Counter[str] = Counter()
    categories, licences = _survey(records)
    ids = {name: number for number, name in enumerate(sorted(categories), 1)}
    rows = [_category_row(name, number, categories[name]) for name, number in ids.items()]
    head = {"info": INFO, "licenses": licences.rows(), "categories": rows}
    object_ids = count(1)
    with SplitLists(folder, "lvis", head=head, lists=("images", "annotations")) as files:
        chosen = exported(records, left_out, said=SAID)
        for image_id, (record, objects) in enumerate(chosen, 1):
            image = image_row(record, image_id, licences.ids)
            image |= {"coco_url": record.file}  # where readers of version 1 look for the path
            image |= _federated_lists(record, objects, ids, left_out)
            files.add(record.split, "images", image)
            for one in objects:
                row = annotation_row(one, record, left_out)
                row |= {"id": next(object_ids), "image_id": image_id, "category_id": ids[one.name]}
                files.add(record.split, "annotations", row)
    return +left_out


def _survey(records: Iterable[Record]) -> tuple[dict[str, _Category], Licences]:
    assert not isinstance(records, Iterator), "an iterator is empty when it is read again"
    found: dict[str, _Category] = {}
    licences = Licences()
    for record, objects in exported(records, Counter(), said=SAID):
        licences.add(record)
        for name in (*_names_of(record.absent), *_partial_names(record)):
            found.setdefault(name, _Category())
        for one in objects:
            category = found.setdefault(one.name, _Category())
            category.objects += 1
            category.synonyms.update(dict.fromkeys(one.other_names))
        for name in {one.name for one in objects}:
            found[name].images += 1
    return found, licences


def _category_row(name: str, number: int, category: _Category) -> dict[str, Any]:
    return {
        "id": number,
        "name": name,
        "synonyms": [name, *category.synonyms],
        # Of WordNet, which a build does not know; LVIS's readers expect both.
        "synset": "",
        "def": "",
        "frequency": category.frequency,
        "image_count": category.images,
        "instance_count": category.objects,
    }


def _federated_lists(
    record: Record,
    objects: Iterable[NamedObject],
    ids: Mapping[str, int],
    left_out: Counter[str],
) -> dict[str, list[int]]:
    partial = _partial_names(record)
    present = {one.name for one in objects} | set(partial)
    absent = _names_of(record.absent)
    negative = [name for name in absent if name not in present]
    left_out["absent, yet present"] += len(absent) - len(negative)
    return {
        "neg_category_ids": [ids[name] for name in negative],
        "not_exhaustive_category_ids": [ids[name] for name in partial],
    }


def _partial_names(record: Record) -> list[str]:
    crowds = (name_of(one) for one in record.regions if one.crowd and one.kept)
    names = (*_names_of(record.partial), *crowds)
    return [name for name in dict.fromkeys(names) if name]


def _names_of(judged: Iterable[NameJudgement]) -> list[str]:
    return [name for name in dict.fromkeys(clean_text(one.name) for one in judged) if name]
