"""Pictures as the detector's graph takes them, by Pillow and numpy. No torch.

B images, H x W their padded size.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opendet.onnx_export.card import OnnxCard
from opendet.onnx_export.resampling import resample
from opendet.sources.images import to_rgb

Sides = tuple[int, int]
"""Height and width in pixels."""


class Prepared(NamedTuple):
    """Images that are padded to one size."""

    images: NDArray[np.float32]
    """(B, 3, H, W) in [0, 1], zero where padded."""
    sizes_hw: NDArray[np.int64]
    """(B, 2) unpadded."""


def fitted_hw(image: Image.Image, card: OnnxCard) -> Sides:
    """What `opendet.data.transforms.fitted_size` says, which needs torch."""
    scale = min(card.shortest / min(image.size), card.longest / max(image.size))
    return max(round(image.height * scale), 1), max(round(image.width * scale), 1)


def padded_hw(size_hw: Sides, card: OnnxCard) -> Sides:
    height, width = (-(-side // card.unit) * card.unit for side in size_hw)
    return height, width


def prepare(images: Sequence[Image.Image], card: OnnxCard) -> Prepared:
    """Images of one padded size, of any mode."""
    sizes = [fitted_hw(image, card) for image in images]
    batch = np.zeros((len(images), 3, *padded_hw(sizes[0], card)), np.float32)
    for place, image, (height, width) in zip(batch, images, sizes, strict=True):
        fitted = resample(np.asarray(to_rgb(image)), (height, width))
        place[:, :height, :width] = fitted.transpose(2, 0, 1)
    batch /= 255
    return Prepared(batch, np.array(sizes, np.int64))


def in_units(images: NDArray[np.float32], unit: int) -> NDArray[np.float32]:
    """(B, 3, H, W) -> (B, 3, H / unit, unit, W / unit, unit), the same pixels in the same order:
    how the graph takes them."""
    batch, colours, height, width = images.shape
    return images.reshape(batch, colours, height // unit, unit, width // unit, unit)


def in_pixels(boxes_cxcywh: NDArray[np.float32], size_hw: Sides) -> NDArray[np.float32]:
    """(N, 4) in [0, 1] -> (N, 4) xyxy, clipped to an image of that size."""
    centres, halves = boxes_cxcywh[:, :2], boxes_cxcywh[:, 2:] / 2
    corners = np.concatenate((centres - halves, centres + halves), 1).clip(0, 1)
    height, width = size_hw
    return corners * np.array([width, height, width, height], np.float32)
