"""COCO: instances and captions, each in one JSON file.

Only what is used is kept in memory: polygons, keypoints and urls are skipped by the parser.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from opendet.record import BoxXYXY
from opendet.sources.listing import AnnotatedBox, Entry, entry_of, in_order
from opendet.typed_json import read_json

MEND = "mend the batch in source.yaml"

log = logging.getLogger(__name__)

Id = int | str


@dataclass(frozen=True, slots=True)
class _Licence:
    id: Id
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Image:
    id: Id
    file_name: str
    width: int = 0
    height: int = 0
    license: Id | None = None


@dataclass(frozen=True, slots=True)
class _Category:
    id: Id
    name: str


@dataclass(frozen=True, slots=True)
class _Instance:
    image_id: Id
    category_id: Id
    bbox: tuple[float, float, float, float]
    """xywh in pixels."""
    iscrowd: int = 0


@dataclass(frozen=True, slots=True)
class _Caption:
    image_id: Id
    caption: str


@dataclass(frozen=True, slots=True)
class _Instances:
    images: tuple[_Image, ...]
    annotations: tuple[_Instance, ...]
    categories: tuple[_Category, ...]
    licenses: tuple[_Licence, ...] = ()


@dataclass(frozen=True, slots=True)
class _Captions:
    annotations: tuple[_Caption, ...]


def list_coco(
    root: Path, *, batch: str, images: str, annotations: str, captions: str = ""
) -> list[Entry]:
    """The images that the instances' file lists.

    Raises ValueError, naming file and place, for a file that is not COCO's JSON.
    """
    path = root / annotations
    data = read_json(_Instances, path, mend=MEND)
    boxes = _boxes_by_image(data, path)
    texts = _captions_by_image(root / captions, data) if captions else {}
    licences = {licence.id: licence.name for licence in data.licenses}
    _check_ids(data.images, path)
    return in_order(
        replace(
            entry_of(batch, images, image.file_name),
            annotations=tuple(boxes.get(image.id, ())),
            captions=tuple(texts.get(image.id, ())),
            declared_size=(image.width, image.height) if image.width and image.height else None,
            licence=licences.get(image.license, "") if image.license is not None else "",
        )
        for image in data.images
    )


def xyxy_of(x: float, y: float, width: float, height: float) -> BoxXYXY:
    """COCO's corner and size -> corners; rounded to a thousandth, below which is float noise."""
    return (round(x, 3), round(y, 3), round(x + width, 3), round(y + height, 3))


def _boxes_by_image(data: _Instances, path: Path) -> dict[Id, list[AnnotatedBox]]:
    names = {category.id: category.name for category in data.categories}
    boxes: defaultdict[Id, list[AnnotatedBox]] = defaultdict(list)
    for number, instance in enumerate(data.annotations):
        if instance.category_id not in names:
            raise ValueError(
                f"{path}: annotations.{number}.category_id {instance.category_id!r} is none of "
                "its categories"
            )
        box_xyxy = xyxy_of(*instance.bbox)
        label = names[instance.category_id]
        boxes[instance.image_id].append(AnnotatedBox(box_xyxy, label, bool(instance.iscrowd)))
    _warn_of_strays(boxes.keys() - {image.id for image in data.images}, path)
    return boxes


def _captions_by_image(path: Path, data: _Instances) -> dict[Id, list[str]]:
    texts: defaultdict[Id, list[str]] = defaultdict(list)
    for caption in read_json(_Captions, path, mend=MEND).annotations:
        texts[caption.image_id].append(caption.caption)
    _warn_of_strays(texts.keys() - {image.id for image in data.images}, path)
    return texts


def _check_ids(images: Sequence[_Image], path: Path) -> None:
    files: dict[Id, str] = {}
    for number, image in enumerate(images):
        if files.setdefault(image.id, image.file_name) != image.file_name:
            raise ValueError(
                f"{path}: images.{number}.id {image.id!r} belongs to "
                f"{files[image.id]!r} already: give every image an id of its own"
            )


def _warn_of_strays(strays: set[Id], path: Path) -> None:
    if strays:
        log.warning("%s speaks of %d images that the batch does not list", path, len(strays))
