"""What a detector finds, and what each of them is told. `opendet.annotators.finders` lists them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, Self

from pydantic import Field, model_validator

from opendet.record import BoxXYXY
from opendet.section import Section

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that a detector found."""

    box_xyxy: BoxXYXY
    """Pixels of the image as it was given, 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height."""
    name: str
    """One of the names it was asked for, to the letter, or of its own classes; empty where it
    finds things of any kind and says no name."""
    score: float
    """In [0, 1]."""
    mask: str = ""
    """COCO's compressed run-length code in the image's height and width; empty where there is
    none."""


class Finder(Protocol):
    """A detector, loaded and ready. It sorts nothing out: thresholds and suppression come later."""

    @property
    def name(self) -> str:
        """What provenance calls it; holds no path."""
        ...

    @property
    def revision(self) -> str:
        """The version of its weights."""
        ...

    def find(
        self, images: "Sequence[Image]", names: Sequence[tuple[str, ...]]
    ) -> list[list[Found]]:
        """What is in each RGB image, in order, each image's surest first.

        `names` has what to look for in each image. A detector of fixed classes, or of none, pays
        no heed to it. Scores below `floor` and more than `most` things are left out; a score or
        a box that is no number is a ValueError.
        """
        ...


class FinderSection(Section):
    """What every detector is told."""

    model: str = ""
    """A folder or file that holds the model, or its name on the hub."""
    revision: str | None = None
    """Commit, branch or tag on the hub; pin a commit, so that a build can be repeated."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Numbers that the model computes in."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it runs; `auto` takes a GPU where there is one."""
    batch_size: int = Field(default=4, ge=1)
    """Images in one call of the model on a GPU, halved for as long as its memory does not hold
    them. On a CPU each image is asked about alone, so that its answer hangs on nothing else."""
    floor: float = Field(default=0.05, ge=0, le=1)
    """Least score that is remembered. Thresholds above it can be changed without asking again."""
    most: int = Field(default=300, ge=1)
    """Most things that are remembered of one image, or of one tile."""
    min_score: float = Field(default=0.3, ge=0, le=1)
    """Least score of a box."""
    image_min_score: float = Field(default=0.0, ge=0, le=1)
    """Least score that one box of an image must reach for its boxes to be kept at all: OWL-ST
    keeps an image's boxes from 0.1 where one reaches 0.3."""
    names_per_call: int = Field(default=40, ge=1)
    """Longest list of names in one question; longer ones are asked in pieces."""
    tile: int | None = Field(default=None, ge=32)
    """Side of the tiles, in pixels, that a larger image is cut into, beside being shown whole;
    null: never."""
    tile_overlap: float = Field(default=0.2, ge=0, lt=1)
    """Share of a tile's side that it has in common with the next one."""
    same_name_iou: float = Field(default=0.7, gt=0, le=1)
    """IoU from which a box repeats a surer one of the same name."""
    cross_name_iou: float = Field(default=0.9, gt=0, le=1)
    """IoU from which two boxes of different names are one thing with two names: the surer one's
    comes first."""

    @property
    def names_per_question(self) -> int:
        """Names of one question that the answer store knows by itself."""
        return self.names_per_call

    @model_validator(mode="after")
    def _remembered(self) -> Self:
        for named in {"min_score", "image_min_score"} & self.model_fields_set:
            if 0 < (least := getattr(self, named)) < self.floor:
                raise ValueError(
                    f"{named} is {least}, below floor, {self.floor}, under which nothing is "
                    "remembered: lower floor too"
                )
        return self
