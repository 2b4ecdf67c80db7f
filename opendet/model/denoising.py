"""Anchor denoising: queries that begin at noised boxes of the objects (DINO, Zhang et al. 2023).

Of each pair one box is noised little and must find back to its object, the other is noised too much
and must learn that it shows none. What tells them apart is their place alone: both begin with the
same content, for two learned contents, which the spec proposes, would give the answer away.
B images, M objects of one image, R noised boxes of an image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opendet.boxes import cxcywh_from_xyxy, xyxy_from_cxcywh


@dataclass(frozen=True, slots=True)
class NoisedBoxes:
    """The noised boxes of a batch, padded to the most."""

    boxes_cxcywh: Tensor
    """(B, R, 4) in [0, 1] of the unpadded image."""
    targets: Tensor
    """(B, R) int64, index among the targets of the image."""
    positive: Tensor
    """(B, R) bool: noised little."""
    groups: Tensor
    """(B, R) int64 the group of boxes that see each other; -1 where there is none."""

    @property
    def valid(self) -> Tensor:
        """(B, R)"""
        return self.groups >= 0


def noise_boxes(
    boxes_cxcywh: Sequence[Tensor],
    generators: Sequence[torch.Generator],
    *,
    pairs: int,
    scale: float,
) -> NoisedBoxes:
    """B tensors (M, 4) and a generator (of the CPU) for each -> at most `pairs` pairs of an image.

    A group holds one pair of every object; an image gets as many groups as fit, one at least. Of
    more objects than pairs a random choice is noised. `scale` is the largest noise of the positive
    boxes' corners in half sides; negatives have once to twice that.
    """
    images = [
        _noise_image(boxes, generator, pairs, scale)
        for boxes, generator in zip(boxes_cxcywh, generators, strict=True)
    ]
    most = max((len(image.groups) for image in images), default=0)
    return NoisedBoxes(
        boxes_cxcywh=torch.stack([_pad(image.boxes_cxcywh, most, 0.5) for image in images]),
        targets=torch.stack([_pad(image.targets, most, 0) for image in images]),
        positive=torch.stack([_pad(image.positive, most, False) for image in images]),
        groups=torch.stack([_pad(image.groups, most, -1) for image in images]),
    )


def attention_block(groups: Tensor, queries: int) -> Tensor:
    """Which query must not see which: (B, R + Q, R + Q) bool, the noised ones first.

    Nobody sees noised boxes but those of the same group: the others know the objects.
    """
    images, noised = groups.shape
    own = torch.cat((groups, groups.new_full((images, queries), -2)), 1)  # (B, R + Q)
    noised_key = torch.arange(noised + queries, device=groups.device) < noised
    return noised_key[None, None] & (own[:, :, None] != own[:, None])


def _noise_image(
    boxes_cxcywh: Tensor, generator: torch.Generator, pairs: int, scale: float
) -> NoisedBoxes:
    """One image's, (R, ...) unpadded."""
    device = boxes_cxcywh.device
    count = min(len(boxes_cxcywh), pairs)
    chosen = torch.randperm(len(boxes_cxcywh), generator=generator)[:count].sort().values
    groups = max(1, pairs // count) if count else 0
    targets = chosen.repeat(2 * groups).to(device)  # (R,) group by group: positives, negatives
    positive = torch.tensor([True, False]).repeat_interleave(count).repeat(groups)
    group = torch.arange(groups).repeat_interleave(2 * count)
    share = torch.rand(len(targets), 4, generator=generator) + (~positive)[:, None]  # [0, 2)
    sign = torch.randint(2, share.shape, generator=generator) * 2 - 1
    boxes = boxes_cxcywh.float()[targets]  # (R, 4)
    half_sides = boxes[:, [2, 3, 2, 3]] / 2
    corners = xyxy_from_cxcywh(boxes) + (sign * share).to(boxes) * half_sides * scale
    low = torch.minimum(corners[:, :2], corners[:, 2:]).clamp(0, 1)
    high = torch.maximum(corners[:, :2], corners[:, 2:]).clamp(0, 1)
    noised = cxcywh_from_xyxy(torch.cat((low, high), -1))
    return NoisedBoxes(noised, targets, positive.to(device), group.to(device))


def _pad(values: Tensor, length: int, filler: float) -> Tensor:
    padded = values.new_full((length, *values.shape[1:]), filler)
    padded[: len(values)] = values
    return padded
