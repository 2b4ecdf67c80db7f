"""LVIS: COCO's instances with federated lists and synonyms.

Not every category was looked for in every image. An image lists those that were looked for and are
not there, and those of which more is there than was boxed.

A label is LVIS's name as people write it: underscores become spaces and a qualifier stays behind it
in parentheses (`flip-flop_(sandal)` -> `flip-flop (sandal)`). So it is compared with the words of
captions, and still tells `octopus (food)` from `octopus (animal)`. Synonyms are written alike.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from opendet.sources.coco import (
    Category,
    Id,
    Image,
    Instance,
    Instances,
    MaskedInstance,
    boxes_of,
    entries_of,
)
from opendet.sources.listing import MEND, Entry, in_order
from opendet.typed_json import read_json


@dataclass(frozen=True, slots=True)
class LvisImage(Image):
    file_name: str = ""
    """Version 0.5 has it, version 1 a url."""
    coco_url: str = ""
    neg_category_ids: tuple[Id, ...] = ()
    not_exhaustive_category_ids: tuple[Id, ...] = ()

    @property
    def path(self) -> str:
        return self.file_name or path_of_url(self.coco_url)


@dataclass(frozen=True, slots=True)
class LvisCategory(Category):
    synonyms: tuple[str, ...] = ()
    """The name is mostly among them."""

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(as_written(word) for word in (self.name, *self.synonyms)))


def list_lvis(
    root: Path, *, batch: str, images: str, annotations: str, masks: bool = False
) -> list[Entry]:
    """The images that the file lists, `images` being the folder that `val2017` and its like are in.

    Raises ValueError, naming file and place, for a file that is not LVIS's JSON.
    """
    path = root / annotations
    kind: type[Instances[LvisImage, Instance, LvisCategory]]
    kind = Instances[LvisImage, Instance, LvisCategory]
    if masks:
        kind = Instances[LvisImage, MaskedInstance, LvisCategory]
    data = read_json(kind, path, mend=MEND)
    _check_paths(data.images, path)
    names = {category.id: category.words[0] for category in data.categories}
    listed = entries_of(data, boxes_of(data, path), path, root / images, batch=batch, images=images)
    return in_order(
        replace(
            entry,
            absent=_names_of(image.neg_category_ids, names),
            partial=_names_of(image.not_exhaustive_category_ids, names),
        )
        for image, entry in listed
    )


def path_of_url(url: str) -> str:
    """`http://images.cocodataset.org/val2017/000000000139.jpg` -> `val2017/000000000139.jpg`."""
    return "/".join(url.split("/")[-2:])


def as_written(name: str) -> str:
    """LVIS's `aerosol_can` -> `aerosol can`."""
    return name.replace("_", " ")


def _names_of(ids: Iterable[Id], names: Mapping[Id, str]) -> tuple[str, ...]:
    """Ids without a category are passed over: a subset of LVIS keeps the whole set's lists."""
    return tuple(names[one] for one in ids if one in names)


def _check_paths(images: Iterable[LvisImage], path: Path) -> None:
    for number, image in enumerate(images):
        if not image.path:
            raise ValueError(f"{path}: images.{number} needs a file_name or a coco_url")
