"""Official annotation files: COCO's JSON, and LVIS's with its federated lists.

M objects, I images, C categories; both are numbered from 0 in the order of their ids. What is not
used, polygons above all, is skipped by the parser; it is used only where masks are judged.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from pydantic import FiniteFloat

from opendet.evaluation.tables import Bools, Federation, Integers, Masks, TrueObjects
from opendet.masks import LONGEST_SIDE, Segmentation, compressed, mask_areas
from opendet.sources.lvis import as_written, path_of_url
from opendet.typed_json import read_json


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """An image of an annotation file."""

    id: int
    file_name: str = ""
    coco_url: str = ""
    """LVIS v1 has this and no file name."""
    height: int | None = None
    """Pixels; only masks need it, and the width."""
    width: int | None = None
    neg_category_ids: tuple[int, ...] | None = None
    """LVIS: categories that were looked for and are not there."""
    not_exhaustive_category_ids: tuple[int, ...] = ()
    """LVIS: categories of which more are there than were annotated."""

    @property
    def path(self) -> str:
        """Where the image lies in a folder of images: `val2017/000000000139.jpg` of a url."""
        return self.file_name or path_of_url(self.coco_url)


@dataclass(frozen=True, slots=True)
class CategoryEntry:
    """A category of an annotation file."""

    id: int
    name: str
    frequency: str = ""
    """LVIS: r, c or f by the number of training images that show it: below 10, below 100, more."""
    synonyms: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The name as a text tower reads it: LVIS writes `aerosol_can`, `flip-flop_(sandal)`."""
        return as_written(self.name)


@dataclass(frozen=True, slots=True)
class _Annotation:
    image_id: int
    category_id: int
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    area: FiniteFloat | None = None
    iscrowd: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _MaskedAnnotation(_Annotation):
    segmentation: Segmentation


@dataclass(frozen=True, slots=True)
class _File:
    images: tuple[ImageEntry, ...]
    annotations: tuple[_Annotation, ...]
    categories: tuple[CategoryEntry, ...]


@dataclass(frozen=True, slots=True)
class _MaskedFile(_File):
    annotations: tuple[_MaskedAnnotation, ...]


@dataclass(frozen=True, slots=True)
class AnnotatedSet:
    """The images, categories and objects that a detector is judged by."""

    where: str
    """The file's name, for errors."""
    images: tuple[ImageEntry, ...]
    categories: tuple[CategoryEntry, ...]
    objects: TrueObjects
    federation: Federation | None
    """None for a file without LVIS's lists: every category was looked for in every image."""

    @property
    def image_numbers(self) -> dict[int, int]:
        """Id -> number."""
        return {image.id: number for number, image in enumerate(self.images)}

    @property
    def category_numbers(self) -> dict[int, int]:
        """Id -> number."""
        return {category.id: number for number, category in enumerate(self.categories)}

    def of_images(self, numbers: Integers) -> "AnnotatedSet":
        """A part of the images, with all categories; `numbers` (I',) ascending."""
        rows = np.isin(self.objects.image, numbers)
        kept = self.objects.only(rows)
        return AnnotatedSet(
            self.where,
            tuple(self.images[number] for number in numbers),
            self.categories,
            replace(kept, image=np.searchsorted(numbers, kept.image)),
            None if self.federation is None else self.federation.of_images(numbers),
        )


def read_annotations(path: Path, *, masks: bool = False) -> AnnotatedSet:
    """Raises ValueError, in one line that names file and place, for a file that is none, and with
    `masks` for an object whose mask is away or none of its image."""
    return annotated_set(read_json(_MaskedFile if masks else _File, path), str(path))


def annotated_set(file: _File, where: str) -> AnnotatedSet:
    images = tuple(sorted(file.images, key=lambda one: one.id))
    categories = tuple(sorted(file.categories, key=lambda one: one.id))
    image_numbers = _numbers([one.id for one in images], f"{where}: images")
    category_numbers = _numbers([one.id for one in categories], f"{where}: categories")
    for number, one in enumerate(file.annotations):
        place = f"{where}: annotations.{number}"
        require_known(one.image_id, image_numbers, f"{place}.image_id", "images")
        require_known(one.category_id, category_numbers, f"{place}.category_id", "categories")
    masks = _masks(file, where) if isinstance(file, _MaskedFile) else None
    objects = _objects(file.annotations, image_numbers, category_numbers, masks)
    federation = _federation(images, category_numbers, objects)
    return AnnotatedSet(where, images, categories, objects, federation)


def require_known(one: int, known: Collection[int], place: str, what: str) -> None:
    """Raises ValueError, naming the place, for an id that is not among the known."""
    if one not in known:
        raise ValueError(f"{place} {one} is none of its {what}")


def require_size(image: ImageEntry, where: str) -> tuple[int, int]:
    """H, W of the image. Raises ValueError where the entry does not tell them."""
    height, width = image.height or 0, image.width or 0
    if not (0 < height <= LONGEST_SIDE and 0 < width <= LONGEST_SIDE):
        raise ValueError(
            f"{where}: image {image.id} has no height and width in pixels: masks need both"
        )
    return height, width


def _numbers(ids: Sequence[int], where: str) -> dict[int, int]:
    if not ids:
        raise ValueError(f"{where} is empty: nothing can be judged")
    numbers = {one: number for number, one in enumerate(ids)}
    if len(numbers) < len(ids):
        twice = next(one for one, after in pairwise(ids) if one == after)
        raise ValueError(f"{where} has the id {twice} twice: give each an id of its own")
    return numbers


def _masks(file: _MaskedFile, where: str) -> Masks:
    images = {image.id: image for image in file.images}
    codes = [
        compressed(
            one.segmentation,
            require_size(images[one.image_id], where),
            f"{where}: annotations.{number}.segmentation",
        )
        for number, one in enumerate(file.annotations)
    ]
    return np.array(codes, np.object_)


def _objects(
    annotations: Sequence[_Annotation],
    images: Mapping[int, int],
    categories: Mapping[int, int],
    masks: Masks | None,
) -> TrueObjects:
    boxes_xywh = np.array([one.bbox for one in annotations], np.float64).reshape(-1, 4)
    measured = boxes_xywh[:, 2] * boxes_xywh[:, 3] if masks is None else mask_areas(masks.tolist())
    areas = [
        own if one.area is None else one.area
        for one, own in zip(annotations, measured, strict=True)
    ]
    return TrueObjects(
        image=np.array([images[one.image_id] for one in annotations], np.int64),
        category=np.array([categories[one.category_id] for one in annotations], np.int64),
        boxes_xywh=boxes_xywh,
        areas=np.array(areas, np.float64),
        crowd=np.array([bool(one.iscrowd) for one in annotations], np.bool_),
        masks=masks,
    )


def _federation(
    images: Sequence[ImageEntry],
    categories: Mapping[int, int],
    objects: TrueObjects,
) -> Federation | None:
    if all(image.neg_category_ids is None for image in images):
        return None
    judged = np.zeros((len(images), len(categories)), np.bool_)
    partial = np.zeros_like(judged)
    judged[objects.image, objects.category] = True
    for number, image in enumerate(images):
        _mark(judged[number], image.neg_category_ids or (), categories)
        _mark(partial[number], image.not_exhaustive_category_ids, categories)
    return Federation(judged, partial)


def _mark(
    row: Bools,
    ids: Sequence[int],
    categories: Mapping[int, int],
) -> None:
    """Ids without a category are passed over: a subset of LVIS keeps the whole set's lists."""
    row[[categories[one] for one in ids if one in categories]] = True
