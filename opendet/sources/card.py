"""The source card, `datasets/<build>/source.yaml`: what a build is made of, and where it lies."""

import os
import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from opendet.object_store.address import check_address, is_address
from opendet.section import Section, explain
from opendet.sources.scene_settings import SceneSettings
from opendet.yaml_file import read_yaml

Format = Literal[
    "folder",
    "coco",
    "lvis",
    "generateu",
    "voc",
    "yolo",
    "visual_genome",
    "flickr30k",
    "refcoco",
    "mdetr",
    "openimages",
    "odvg",
    "grit",
    "scenes",
]
Split = Literal["train", "val", "test"]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_IN_BATCH = re.compile(r"batches\.\d+(?:\.|: )")
_NO_BATCH = "batches: Tuple should have at least 1 item after validation, not 0"
"""What pydantic says, too, where no batch is right."""
_LONGEST_MISTAKE = 240
_INHERITED = ("format", "root", "licence")
_PATHS = ("images", "annotations", "captions", "list", "refs", "classes", "labels", "label_map")
_NEEDED: dict[str, tuple[str, ...]] = {
    "folder": (),
    "scenes": (),
    "refcoco": ("annotations", "refs"),
    "openimages": ("annotations", "classes"),
}
"""Of formats that need anything but `annotations`."""
USED: dict[str, tuple[str, ...]] = {
    "folder": ("images",),
    "coco": ("images", "annotations", "captions", "masks"),
    "lvis": ("images", "annotations", "masks"),
    "generateu": ("images", "annotations"),
    "voc": ("images", "annotations", "list"),
    "yolo": ("images", "annotations", "list", "masks"),
    "visual_genome": ("images", "annotations"),
    "flickr30k": ("images", "annotations", "list", "sentence"),
    "refcoco": ("images", "annotations", "refs", "ref_split", "masks"),
    "mdetr": ("images", "annotations"),
    "openimages": ("images", "annotations", "list", "classes", "labels"),
    "odvg": ("images", "annotations", "label_map", "merge"),
    "grit": ("images", "annotations"),
    "scenes": ("count",),
}
"""What of a batch each format has a use for. Anything else that is set is a mistake: a list that
nobody reads would let every image in."""
_LISTED = ("voc", "yolo", "openimages", "grit")
"""Formats that look into the folder of their images, which a store cannot show them."""
_ANYWHERE = ("name", "split", "format", "root", "licence", "checksums")


class Batch(Section):
    """A set of images that came in at one time. Once built it never changes."""

    name: str = Field(pattern=r"^[0-9A-Za-z-]{1,30}$")
    """Begins the keys of its images and the names of its shards."""
    split: Split
    """What its images are for."""
    format: Format
    """How it lies on the disk; the card's, unless it says otherwise."""
    root: str = ""
    """Its folder, relative to the project's root or absolute; the card's, unless it says otherwise.
    `${NAME}` and `${NAME:-default}` stand for environment variables."""
    licence: str
    """Of its images; the card's, unless it says otherwise."""
    images: str = ""
    """The folder of the images below the root; empty for the root itself. Or the address of images
    in an object store, such as s3://bucket/photos: then only annotations lie below the root, and
    the format `folder` needs none. Not for VOC, YOLO, OpenImages and GRIT."""
    annotations: str = ""
    """Below the root. A JSON file of COCO, LVIS, GenerateU, MDETR, or RefCOCO's instances; ODVG's
    JSON lines; GRIT's file or folder; OpenImages' CSV of boxes; YOLO's file of class names; the
    folder of VOC's XML files, of Visual Genome's JSON files, or of Flickr30k's two folders."""
    captions: str = ""
    """COCO: the captions' JSON file, below the root."""
    list: str = ""
    """VOC, YOLO, Flickr30k, OpenImages: a text file with an image a line, below the root; empty for
    all images of the folder."""
    masks: bool = False
    """COCO, LVIS, RefCOCO, YOLO: whether the objects' masks are read too."""
    sentence: int = Field(0, ge=0, le=4)
    """Flickr30k: which of an image's captions is the grounded one."""
    refs: str = ""
    """RefCOCO: the pickled expressions, below the root."""
    ref_split: str = ""
    """RefCOCO: the split of the expressions, such as `train`; empty for all."""
    classes: str = ""
    """OpenImages: the CSV of class names, below the root."""
    labels: str = ""
    """OpenImages: a CSV of image-level labels, below the root."""
    label_map: str = ""
    """ODVG of pure detection: the JSON file of class names, below the root."""
    merge: bool = True
    """ODVG: whether lines of one image become one record; else all but the first are duplicates."""
    count: int = Field(0, ge=0, le=1_000_000)
    """Scenes: how many to draw."""
    checksums: dict[str, str] = Field(default_factory=dict)
    """File below the root -> the SHA-256 it must have."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.format == "scenes" and not self.count:
            raise ValueError("a batch of scenes needs `count`")
        is_stored = is_address(self.images)
        if is_stored:
            check_address(self.images)
        if is_stored and self.format in _LISTED:
            raise ValueError(
                f"a batch of format {self.format} cannot have its images at an address: bring them "
                "to a folder below the root"
            )
        if self.format != "scenes" and not (self.root or (is_stored and self.format == "folder")):
            raise ValueError(f"a batch of format {self.format} needs `root`")
        unused = sorted(self.model_fields_set - {*_ANYWHERE, *USED[self.format]})
        if unused:
            able = [name for name, used in USED.items() if unused[0] in used]
            raise ValueError(
                f"a batch of format {self.format} has no use for `{unused[0]}`: leave it out "
                f"({', '.join(able)} can use it)"
            )
        for needed in _NEEDED.get(self.format, ("annotations",)):
            if not getattr(self, needed):
                raise ValueError(f"a batch of format {self.format} needs `{needed}`")
        for path in (*(getattr(self, name) for name in _PATHS), *self.checksums):
            if Path(path).is_absolute() or ".." in Path(path).parts:
                raise ValueError(f"{path} leaves the batch's root: name a path below it")
        return self

    @property
    def address(self) -> str:
        """Where its images lie in an object store; empty where they lie in a folder.

        Raises ValueError for a variable that is not set.
        """
        return expand(self.images) if is_address(self.images) else ""

    def folder(self, project_root: Path) -> Path:
        """The absolute folder of the batch. Raises ValueError for a variable that is not set."""
        return (project_root / expand(self.root)).absolute()


class SourceCard(Section):
    """A source, as its YAML file says."""

    name: str = Field(min_length=1)
    """What records call the source."""
    title: str = ""
    """One line for people."""
    licence: str = Field(min_length=1)
    """Of the images, where a batch or the data itself does not say otherwise."""
    format: Format | None = None
    """As in a batch."""
    root: str = ""
    """As in a batch."""
    scenes: SceneSettings = SceneSettings()
    """What scenes are drawn like."""
    batches: tuple[Batch, ...] = Field(min_length=1)
    """In the order in which they came: a batch is judged against itself and those before it."""

    @model_validator(mode="before")
    @classmethod
    def _inherit(cls, data: Any) -> Any:
        """A batch that says nothing of format, root and licence has the card's."""
        if not isinstance(data, dict) or not isinstance(data.get("batches"), list):
            return data
        common = {key: data[key] for key in _INHERITED if data.get(key)}
        batches = [
            {**common, **batch} if isinstance(batch, dict) else batch for batch in data["batches"]
        ]
        return {**data, "batches": batches}

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [batch.name for batch in self.batches]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"two batches are called {twice}: give each a name of its own")
        return self

    def batch(self, name: str) -> Batch:
        """Raises ValueError for a name that the card does not know."""
        for batch in self.batches:
            if batch.name == name:
                return batch
        known = ", ".join(batch.name for batch in self.batches)
        raise ValueError(f"source {self.name} has no batch {name}: it has {known}")


def read_card(path: Path) -> SourceCard:
    """The card in a YAML file. Raises ValueError, in one line, for whatever is wrong with it."""
    try:
        return parse_card(read_yaml(path), path)
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: a build needs a source card") from error


def parse_card(data: Any, path: Path) -> SourceCard:
    """The card that YAML's values are; raises ValueError, in one line that begins with `path`."""
    try:
        return SourceCard.model_validate(data)
    except ValidationError as error:
        raise ValueError(f"{path}: {_mistakes_of(error)}") from error


def _mistakes_of(error: ValidationError) -> str:
    """Each of them once: what the card hands down is wrong in every batch that inherits it, and
    batches that are wrong are not missing beside."""
    places: dict[str, list[str]] = {}
    for said in explain(error, SourceCard).replace("Value error, ", "").split("; "):
        places.setdefault(_IN_BATCH.sub("", said), []).append(said)
    if len(places) > 1:
        places = {text: found for text, found in places.items() if text != _NO_BATCH}
    told = []
    for found in places.values():
        again = len(found) - 1 if _IN_BATCH.match(found[0]) else 0
        told.append(found[0][:_LONGEST_MISTAKE] + (f" (and in {again} more)" if again else ""))
    return "; ".join(told)


def expand(text: str) -> str:
    """Replace `${NAME}` and `${NAME:-default}`; an empty variable counts as not set."""

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = os.environ.get(name) or default
        if found is None:
            raise ValueError(f"{text} needs the environment variable {name}: set it")
        return str(found)

    return _VARIABLE.sub(value, text)


def variables_of(text: str) -> tuple[str, ...]:
    """The environment variables that a text asks for."""
    return tuple(match[1] for match in _VARIABLE.finditer(text))
