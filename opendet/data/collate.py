"""Examples of different sizes into one batch."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from opendet.boxes import to_model
from opendet.data.batch import Batch, Target
from opendet.data.transforms import Example


def collate(examples: Sequence[Example], *, multiple: int) -> Batch:
    """Pad at the right and at the bottom, with zeros, to the smallest common sides that `multiple`
    divides; boxes stay relative to the unpadded image."""
    return scaled(padded(examples, multiple=multiple))


def padded(examples: Sequence[Example], *, multiple: int) -> Batch:
    """The batch before it is `scaled`, its images still bytes: a quarter of what a worker has to
    hand over, which costs it more than to decode."""
    sizes = [example.size_hw for example in examples]
    height, width = (
        -(-max(size[axis] for size in sizes) // multiple) * multiple for axis in (0, 1)
    )
    images = np.empty((len(examples), 3, height, width), np.uint8)
    for place, example in zip(images, examples, strict=True):
        own_h, own_w = example.size_hw
        place[:, own_h:] = 0
        place[:, :own_h, own_w:] = 0
        place[:, :own_h, :own_w] = example.image.numpy()
    return Batch(
        keys=tuple(example.key for example in examples),
        images=torch.from_numpy(images),
        sizes_hw=torch.tensor(sizes),
        original_sizes_hw=torch.tensor([example.original_hw for example in examples]),
        targets=tuple(_target(example) for example in examples),
    )


def scaled(batch: Batch) -> Batch:
    """With its bytes brought to [0, 1]."""
    # NumPy's memory, since it asks for huge pages: with small ones the kernel would spend more time
    # on handing out the batch than the loader spends on decoding it.
    images = np.divide(batch.images.numpy(), np.float32(255))
    return replace(batch, images=torch.from_numpy(images))


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
