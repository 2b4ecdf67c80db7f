"""What the trainer eats: a batch of images and their targets."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from opendet.data.kinds import AnnotationKind

# B images, M targets of one image, H x W the padded size


class RegionRef(NamedTuple):
    """Which region of which record an object is."""

    key: str
    """Of the record, whatever the example is called."""
    region: int
    """Its index in the record's regions."""


@dataclass(frozen=True, slots=True)
class Target:
    """What one image shows."""

    boxes_cxcywh: Tensor
    """(M, 4) in [0, 1] of the unpadded image."""
    names: tuple[tuple[str, ...], ...]
    """M tuples of names that mean the same; the first is preferred."""
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


@dataclass(frozen=True, slots=True)
class Batch:
    """Images padded to one size at the right and at the bottom."""

    keys: tuple[str, ...]
    images: Tensor
    """(B, 3, H, W) RGB in [0, 1]; zero where padded. The model normalises."""
    sizes_hw: Tensor
    """(B, 2) height and width of the unpadded images, int64."""
    original_sizes_hw: Tensor
    """(B, 2) of the upright images as the records know them, int64."""
    targets: tuple[Target, ...]

    def to(self, device: torch.device) -> "Batch":
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            sizes_hw=self.sizes_hw.to(device),
            original_sizes_hw=self.original_sizes_hw.to(device),
            targets=tuple(
                replace(target, boxes_cxcywh=target.boxes_cxcywh.to(device))
                for target in self.targets
            ),
        )
