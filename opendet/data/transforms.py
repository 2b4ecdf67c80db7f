"""An image and its boxes, moved together. Pure functions: what is random comes in as an argument.

M boxes, H x W the image. torchvision moves pixels and boxes by one call each; no coordinate is
computed here but the share of a box that a crop leaves.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from opendet.boxes import area
from opendet.data.batch import RegionRef
from opendet.data.config import LoaderConfig
from opendet.data.kinds import AnnotationKind

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Example:
    """One image on its way into a batch."""

    key: str
    image: Tensor
    """(3, H, W) RGB, uint8."""
    boxes_xyxy: Tensor
    """(M, 4) float32, in pixels of `image`."""
    names: tuple[tuple[str, ...], ...]
    """M tuples of names that mean the same."""
    original_hw: tuple[int, int]
    """Of the upright image."""
    kind: AnnotationKind = "box"
    """Which losses may use it."""
    caption: str | None = None
    """Of the whole image; None where nobody wrote one."""
    absent: tuple[str, ...] = ()
    """Names that were looked for and are not there."""
    partial: tuple[str, ...] = ()
    """Names that may be there without a box: of which there is more than has boxes, those of crowds
    and of refused regions, and of boxes that were left out and still show."""
    regions: tuple[RegionRef, ...] = ()
    """M of them; none where the objects come from no record."""
    descriptions: tuple[str, ...] = ()
    """M sentences, empty where a region has none; none at all where nobody asked for them."""

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.image.shape[-2], self.image.shape[-1]


def fitted_size(size_hw: tuple[int, int], *, shortest: int, longest: int) -> tuple[int, int]:
    """(H, W) with the shortest edge `shortest`, unless the longest would then pass `longest`."""
    scale = min(shortest / min(size_hw), longest / max(size_hw))
    return max(round(size_hw[0] * scale), 1), max(round(size_hw[1] * scale), 1)


def resize(example: Example, *, shortest: int, longest: int) -> Example:
    """Scale to `fitted_size`, bilinear with antialias."""
    size = fitted_size(example.size_hw, shortest=shortest, longest=longest)
    if size == example.size_hw:
        return example
    return _moved(example, lambda thing: functional.resize(thing, list(size), antialias=True))


def fit(example: Example, *, height: int, width: int) -> Example:
    """Scale to the largest size of the same shape that fits into (height, width)."""
    scale = min(height / example.size_hw[0], width / example.size_hw[1])
    size = tuple(
        min(max(round(own * scale), 1), most)
        for own, most in zip(example.size_hw, (height, width), strict=True)
    )
    if size == example.size_hw:
        return example
    return _moved(example, lambda thing: functional.resize(thing, list(size), antialias=True))


def flip(example: Example) -> Example:
    """Mirror left and right."""
    return _moved(example, functional.horizontal_flip)


def crop(
    example: Example, *, top: int, left: int, height: int, width: int, keep_share: float
) -> Example:
    """Cut a part out. Boxes are clipped to it; one that keeps less than `keep_share` of its area,
    or none, is dropped: it no longer shows what it is called. Of what is left of it nobody knows
    whether it does, so its names are `partial`."""
    cut = _moved(example, lambda thing: functional.crop(thing, top, left, height, width))
    shares = area(cut.boxes_xyxy) / area(example.boxes_xyxy).clamp(min=1e-6)
    return with_boxes(cut, (shares >= keep_share) & (shares > 0), showing=shares > 0)


def with_boxes(example: Example, kept: Tensor, *, showing: Tensor) -> Example:
    """Only the boxes that are `kept` (M,). The names of others that go on `showing` (M,) something
    are partial from here on."""
    places = kept.nonzero().flatten().tolist()
    left = (showing & ~kept).nonzero().flatten().tolist()
    unsure = (name for index in left for name in example.names[index])
    return replace(
        example,
        boxes_xyxy=example.boxes_xyxy[places],
        names=_at(places, example.names),
        regions=_at(places, example.regions),
        descriptions=_at(places, example.descriptions),
        partial=tuple(dict.fromkeys((*example.partial, *unsure))),
    )


def _at(places: list[int], each: tuple[T, ...]) -> tuple[T, ...]:
    """Of M things those at the places; of none, none."""
    return tuple(each[place] for place in places) if each else ()


def random_crop(example: Example, rng: np.random.Generator, config: LoaderConfig) -> Example:
    """Cut a part of random sides out of a random place."""
    low, high = config.crop_sides
    height, width = (
        int(rng.integers(min(low, side), min(high, side), endpoint=True))
        for side in example.size_hw
    )
    top = int(rng.integers(example.size_hw[0] - height, endpoint=True))
    left = int(rng.integers(example.size_hw[1] - width, endpoint=True))
    return crop(
        example, top=top, left=left, height=height, width=width, keep_share=config.crop_keep
    )


def _moved(example: Example, move: Callable[[Tensor], Tensor]) -> Example:
    boxes = tv_tensors.BoundingBoxes(example.boxes_xyxy, format="XYXY", canvas_size=example.size_hw)
    with torch.no_grad():
        image = move(tv_tensors.Image(example.image)).as_subclass(torch.Tensor)
        moved = move(boxes)
    return replace(example, image=image, boxes_xyxy=moved.as_subclass(torch.Tensor))
