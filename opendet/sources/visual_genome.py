"""Visual Genome: a folder with `image_data.json` and `objects.json`, `region_descriptions.json` or
both.

An object becomes a box with its first name as the label and its others beside it. A region's
description becomes a box without a label. The images lie in two folders, `VG_100K` and
`VG_100K_2`; only the urls of `image_data.json` say in which, by their last two steps.

The files have hundreds of megabytes: they are read image by image, and of synsets, attributes and
everything else that no box holds nothing is kept.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from sys import intern
from typing import Annotated

from pydantic import AliasChoices, Field

from opendet.sources.coco import xyxy_of
from opendet.sources.json_items import read_json_items
from opendet.sources.listing import MEND, AnnotatedBox, Entry, entry_of, in_order, key_of

IMAGES, OBJECTS, REGIONS = "image_data.json", "objects.json", "region_descriptions.json"

log = logging.getLogger(__name__)

# the older versions, and the regions of all, call it `id`
ImageId = Annotated[int, Field(validation_alias=AliasChoices("image_id", "id"))]


@dataclass(frozen=True, slots=True)
class _Image:
    image_id: ImageId
    url: str
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class _Object:
    x: float
    y: float
    w: float
    h: float
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _ObjectsOfImage:
    image_id: ImageId
    objects: tuple[_Object, ...]


@dataclass(frozen=True, slots=True)
class _Region:
    x: float
    y: float
    width: float
    height: float
    phrase: str


@dataclass(frozen=True, slots=True)
class _RegionsOfImage:
    image_id: ImageId
    regions: tuple[_Region, ...]


_Boxes = defaultdict[int, list[AnnotatedBox]]


def list_visual_genome(root: Path, *, batch: str, images: str, annotations: str) -> list[Entry]:
    """The images of `image_data.json` in the folder `annotations`; `images` has their two folders.

    Raises ValueError, naming file and place, for a file that has not Visual Genome's form, and
    where there are neither objects nor regions.
    """
    folder = root / annotations
    listed = list(read_json_items(_Image, folder / IMAGES, mend=MEND))
    boxes = _boxes_in(folder)
    strays = boxes.keys() - {image.image_id for image in listed}
    if strays:
        log.warning("%s speaks of %d images that %s does not list", folder, len(strays), IMAGES)
    return in_order(
        replace(
            _entry_of(batch, images, image),
            annotations=tuple(boxes.get(image.image_id, ())),
            declared_size=(image.width, image.height) if image.width and image.height else None,
        )
        for image in listed
    )


def _entry_of(batch: str, images: str, image: _Image) -> Entry:
    """The image's number is its stem and in both folders but once, and so makes its key."""
    path = PurePosixPath(image.url)
    if not path.name:
        return Entry(key_of(batch, str(image.image_id)), batch, images, problem="no file name")
    return entry_of(batch, "/".join(filter(None, (images, path.parent.name))), path.name)


def _boxes_in(folder: Path) -> _Boxes:
    """By image."""
    objects, regions = folder / OBJECTS, folder / REGIONS
    if not objects.exists() and not regions.exists():
        raise ValueError(f"{folder} has neither {OBJECTS} nor {REGIONS}: {MEND}")
    boxes: _Boxes = defaultdict(list)
    for path, add in ((objects, _add_objects), (regions, _add_regions)):
        if path.exists():
            add(boxes, path)
        else:
            log.warning("%s is not there: its boxes are left out", path)
    return boxes


def _add_objects(boxes: _Boxes, path: Path) -> None:
    for image in read_json_items(_ObjectsOfImage, path):
        boxes[image.image_id] += _labelled(image.objects)


def _add_regions(boxes: _Boxes, path: Path) -> None:
    for image in read_json_items(_RegionsOfImage, path):
        boxes[image.image_id] += _described(image.regions)


def _labelled(objects: Iterable[_Object]) -> Iterable[AnnotatedBox]:
    for item in objects:
        box_xyxy = xyxy_of(item.x, item.y, item.w, item.h)
        # an object without a name is counted where labels are checked
        first, *others = (intern(name) for name in item.names or ("",))
        yield AnnotatedBox(box_xyxy, first, other_labels=tuple(others))


def _described(regions: Iterable[_Region]) -> Iterable[AnnotatedBox]:
    for item in regions:
        box_xyxy = xyxy_of(item.x, item.y, item.width, item.height)
        yield AnnotatedBox(box_xyxy, "", description=item.phrase)
