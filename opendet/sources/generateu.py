"""GenerateU's training files: COCO's JSON with free names.

Every box is of the one category `object`, which therefore says nothing and is not read; its name is
in `object_name`, with a comma and a space between synonyms.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from opendet.sources.coco import Boxed, BoxedImages, Id, Image, entries_of, xyxy_of
from opendet.sources.listing import MEND, AnnotatedBox, Entry, in_order
from opendet.typed_json import read_json

SYNONYM_SEPARATOR = ", "


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedBox(Boxed):
    object_name: str


def list_generateu(root: Path, *, batch: str, images: str, annotations: str) -> list[Entry]:
    """The images that the file lists; a box's first name is its label.

    Raises ValueError, naming file and place, for a file that is not GenerateU's JSON.
    """
    path = root / annotations
    data = read_json(BoxedImages[Image, NamedBox], path, mend=MEND)
    boxes = _boxes_of(data.annotations)
    listed = entries_of(data, boxes, path, root / images, batch=batch, images=images)
    return in_order(entry for _, entry in listed)


def _boxes_of(annotations: Iterable[NamedBox]) -> Iterator[tuple[Id, AnnotatedBox]]:
    for one in annotations:
        label, *others = synonyms_of(one.object_name)
        box_xyxy = xyxy_of(*one.bbox)
        yield (
            one.image_id,
            AnnotatedBox(box_xyxy, label, bool(one.iscrowd), other_labels=tuple(others)),
        )


def synonyms_of(text: str) -> tuple[str, ...]:
    """The distinct names in `object_name`, in order; one empty name where there is none."""
    names = (name.strip() for name in text.split(SYNONYM_SEPARATOR))
    return tuple(dict.fromkeys(name for name in names if name)) or ("",)
