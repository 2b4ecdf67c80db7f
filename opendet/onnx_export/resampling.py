"""Bilinear resizing with antialias that gives torchvision's pixels, to the last bit. No torch.

Pillow's differ by one level in a few pixels of a thousand, for it rounds its weights elsewhere;
where a name is nearly as likely as another, a level decides.
"""

import math

import numpy as np
from numpy.typing import NDArray

MOST_BITS = 22
"""Of a weight's fraction."""
WEIGHT_LIMIT = 1 << 15
"""Weights are 16 bits wide, sign included."""


def resample(pixels: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, C) -> (H', W', C), the columns first; each pass is rounded to whole levels."""
    height, width = size_hw
    return _along(_along(pixels, width, axis=1), height, axis=0)


def _along(pixels: NDArray[np.uint8], after: int, *, axis: int) -> NDArray[np.uint8]:
    before = pixels.shape[axis]
    if before == after:
        return pixels
    places, weights, bits = _taps(before, after)
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    total = np.full(1, 1 << (bits - 1), np.int32)
    for place, weight in zip(places.T, weights.T, strict=True):
        total = total + pixels.take(place, axis) * weight.reshape(shape)
    return (total >> bits).clip(0, 255).astype(np.uint8)


def _taps(before: int, after: int) -> tuple[NDArray[np.int64], NDArray[np.int32], int]:
    """Which of `before` pixels each of `after` reads, (after, taps), their weights as whole numbers
    and how many bits of these are the fraction."""
    scale = before / after
    support, shrink = (scale, 1 / scale) if scale >= 1 else (1.0, 1.0)
    centres = scale * (np.arange(after) + 0.5)
    first = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    end = np.minimum((centres + support + 0.5).astype(np.int64), before)
    places = first[:, None] + np.arange(math.ceil(support) * 2 + 1)
    shares = np.maximum(1 - np.abs((places - centres[:, None] + 0.5) * shrink), 0)
    shares[places >= end[:, None]] = 0
    shares /= np.add.accumulate(shares, 1)[:, -1:]  # in turn: a tree of sums rounds elsewhere
    bits = _bits(float(shares.max()))
    weights = (0.5 + shares * (1 << bits)).astype(np.int32)
    return places.clip(max=before - 1), weights, bits


def _bits(largest: float) -> int:
    """As many as the largest weight has room for."""
    fitting = (n for n in range(MOST_BITS) if int(0.5 + largest * (2 << n)) >= WEIGHT_LIMIT)
    return next(fitting, MOST_BITS)
