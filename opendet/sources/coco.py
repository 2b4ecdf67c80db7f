"""COCO: instances and captions, each in one JSON file; and what the files of its kin share.

Objects365 and V3Det are read as they are. Only what is used is kept in memory: keypoints and urls
are skipped by the parser, and polygons where no masks are asked for.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from pydantic import ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from opendet.masks import Rle, Segmentation
from opendet.record import BoxXYXY
from opendet.sources.listing import MEND, AnnotatedBox, Entry, entry_of, in_order, key_of
from opendet.typed_json import read_json

log = logging.getLogger(__name__)

Id = int | str

_UNREAD = Rle((0, 0), "")
"""Stands for a mask whose form is none of COCO's; compared with `is`."""


@dataclass(frozen=True, slots=True)
class Licence:
    id: Id
    name: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    id: Id
    file_name: str
    width: int = 0
    height: int = 0
    license: Id | None = None

    @property
    def path(self) -> str:
        """Where the image lies below the folder of images."""
        return self.file_name


@dataclass(frozen=True, slots=True)
class Category:
    id: Id
    name: str

    @property
    def words(self) -> tuple[str, ...]:
        """What an object of it may be called, its name first."""
        return (self.name,)


@dataclass(frozen=True, slots=True)
class Boxed:
    """An annotation, whatever says what it is."""

    image_id: Id
    bbox: tuple[float, float, float, float]
    """xywh in pixels."""
    iscrowd: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance(Boxed):
    category_id: Id

    @property
    def mask(self) -> Segmentation | None:
        return None


def _read_if_able(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    """Boxes without a mask have null or an empty list in the place of one."""
    if value is None or value == []:
        return None
    try:
        return read(value)
    except ValidationError:
        return _UNREAD


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedInstance(Instance):
    segmentation: Annotated[Segmentation | None, WrapValidator(_read_if_able)] = None

    @property
    def mask(self) -> Segmentation | None:
        return None if self.segmentation is _UNREAD else self.segmentation


ImageT = TypeVar("ImageT", bound=Image, covariant=True)
CategoryT = TypeVar("CategoryT", bound=Category, covariant=True)
BoxedT = TypeVar("BoxedT", bound=Boxed, covariant=True)


@dataclass(frozen=True, slots=True)
class BoxedImages(Generic[ImageT, BoxedT]):
    """What the files of COCO's kin have in common."""

    images: tuple[ImageT, ...]
    annotations: tuple[BoxedT, ...]
    licenses: tuple[Licence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances(BoxedImages[ImageT, BoxedT], Generic[ImageT, BoxedT, CategoryT]):
    categories: tuple[CategoryT, ...]


@dataclass(frozen=True, slots=True)
class _Caption:
    image_id: Id
    caption: str


@dataclass(frozen=True, slots=True)
class _Captions:
    annotations: tuple[_Caption, ...]


def list_coco(
    root: Path,
    *,
    batch: str,
    images: str,
    annotations: str,
    captions: str = "",
    masks: bool = False,
) -> list[Entry]:
    """The images that the instances' file lists; with the objects' masks where they are asked for.

    Raises ValueError, naming file and place, for a file that is not COCO's JSON.
    """
    path = root / annotations
    kind: type[Instances[Image, Instance, Category]] = Instances[Image, Instance, Category]
    if masks:
        kind = Instances[Image, MaskedInstance, Category]
    data = read_json(kind, path, mend=MEND)
    texts = _captions_by_image(root / captions, data.images) if captions else {}
    listed = entries_of(data, boxes_of(data, path), path, root / images, batch=batch, images=images)
    return in_order(
        replace(entry, captions=tuple(texts.get(image.id, ()))) for image, entry in listed
    )


def boxes_of(
    data: Instances[Image, Instance, Category], path: Path
) -> Iterator[tuple[Id, AnnotatedBox]]:
    """Each object's image and box. Raises ValueError, naming the place, for an unknown category."""
    known = words_of_categories(data.categories, path)
    words = {category: (first, tuple(others)) for category, (first, *others) in known.items()}
    for number, instance in enumerate(data.annotations):
        if instance.category_id not in words:
            raise ValueError(
                f"{path}: annotations.{number}.category_id {instance.category_id!r} is none of "
                "its categories"
            )
        label, others = words[instance.category_id]
        yield (
            instance.image_id,
            AnnotatedBox(
                xyxy_of(*instance.bbox),
                label,
                crowd=bool(instance.iscrowd),
                other_labels=others,
                mask=instance.mask,
            ),
        )
    _warn_of_unread(data.annotations, path)


def entries_of(
    data: BoxedImages[ImageT, Boxed],
    boxes: Iterable[tuple[Id, AnnotatedBox]],
    path: Path,
    folder: Path,
    *,
    batch: str,
    images: str,
) -> Iterator[tuple[ImageT, Entry]]:
    """Each image and its entry, in the file's order; `folder` is where `images` lies.

    Raises ValueError, naming the place, where two images have one id.
    """
    by_image = _by_image(boxes, data.images, path)
    licences = {licence.id: licence.name for licence in data.licenses}
    subfolders = _subfolders(folder)
    _check_ids(data.images, path)
    for image in data.images:
        yield (
            image,
            replace(
                entry_of(batch, images, _found_below(subfolders, image.path)),
                # The key is the annotation's name for it, however the images were unpacked
                key=key_of(batch, image.path),
                annotations=tuple(by_image.get(image.id, ())),
                declared_size=(image.width, image.height) if image.width and image.height else None,
                licence=licences.get(image.license, "") if image.license is not None else "",
            ),
        )


def words_of_categories(categories: Iterable[Category], path: Path) -> dict[Id, tuple[str, ...]]:
    """Category -> what its objects may be called.

    Raises ValueError, naming the place, where two categories have one id: nobody knows which of
    them a box of it is.
    """
    words: dict[Id, tuple[str, ...]] = {}
    for number, category in enumerate(categories):
        if words.setdefault(category.id, category.words) != category.words:
            raise ValueError(
                f"{path}: categories.{number}.id {category.id!r} belongs to "
                f"{words[category.id][0]!r} already: give every category an id of its own"
            )
    return words


def xyxy_of(x: float, y: float, width: float, height: float) -> BoxXYXY:
    """COCO's corner and size -> corners; rounded to a thousandth, below which is float noise."""
    return (round(x, 3), round(y, 3), round(x + width, 3), round(y + height, 3))


T = TypeVar("T")


def _by_image(
    pairs: Iterable[tuple[Id, T]], images: Sequence[Image], path: Path
) -> Mapping[Id, list[T]]:
    grouped: defaultdict[Id, list[T]] = defaultdict(list)
    for image_id, one in pairs:
        grouped[image_id].append(one)
    strays = grouped.keys() - {image.id for image in images}
    if strays:
        log.warning("%s speaks of %d images that the batch does not list", path, len(strays))
    return grouped


def _captions_by_image(path: Path, images: Sequence[Image]) -> Mapping[Id, list[str]]:
    captions = read_json(_Captions, path, mend=MEND).annotations
    return _by_image(((one.image_id, one.caption) for one in captions), images, path)


def _check_ids(images: Sequence[Image], path: Path) -> None:
    files: dict[Id, str] = {}
    for number, image in enumerate(images):
        if files.setdefault(image.id, image.path) != image.path:
            raise ValueError(
                f"{path}: images.{number}.id {image.id!r} belongs to "
                f"{files[image.id]!r} already: give every image an id of its own"
            )


def _subfolders(folder: Path) -> frozenset[str]:
    if not folder.is_dir():
        return frozenset()
    return frozenset(one.name for one in folder.iterdir() if one.is_dir())


def _found_below(subfolders: Collection[str], name: str) -> str:
    """Objects365 writes `images/v1/patch8/a.jpg` and V3Det `images/a1/b.jpg`, but their archives
    unpack into patch8 and a1: a path that the disk does not have is sought by its last folder."""
    steps = name.split("/")
    if len(steps) > 2 and steps[0] not in subfolders and steps[-2] in subfolders:
        return "/".join(steps[-2:])
    return name


def _warn_of_unread(instances: Iterable[Instance], path: Path) -> None:
    unread = sum(
        isinstance(one, MaskedInstance) and one.segmentation is _UNREAD for one in instances
    )
    if unread:
        log.warning("%s: left out %d masks whose form is none of COCO's", path, unread)
