"""Examples of different sizes into one batch."""

from collections.abc import Sequence

import torch

from opendet.boxes import to_model
from opendet.data.batch import Batch, Target
from opendet.data.transforms import Example


def collate(examples: Sequence[Example], *, multiple: int) -> Batch:
    """Pad at the right and at the bottom, with zeros, to the smallest common sides that `multiple`
    divides; boxes stay relative to the unpadded image."""
    sizes = [example.size_hw for example in examples]
    height, width = (
        -(-max(size[axis] for size in sizes) // multiple) * multiple for axis in (0, 1)
    )
    images = torch.zeros(len(examples), 3, height, width)
    for place, example in zip(images, examples, strict=True):
        place[:, : example.size_hw[0], : example.size_hw[1]] = example.image
    images /= 255  # in place and at once: a temporary for each image would cost more than the rest
    return Batch(
        keys=tuple(example.key for example in examples),
        images=images,
        sizes_hw=torch.tensor(sizes),
        original_sizes_hw=torch.tensor([example.original_hw for example in examples]),
        targets=tuple(_target(example) for example in examples),
    )


def _target(example: Example) -> Target:
    height, width = example.size_hw
    boxes_cxcywh = to_model(example.boxes_xyxy, width=width, height=height)
    return Target(
        boxes_cxcywh,
        example.names,
        kind=example.kind,
        caption=example.caption,
        absent=example.absent,
        partial=example.partial,
        regions=example.regions,
        descriptions=example.descriptions,
    )
