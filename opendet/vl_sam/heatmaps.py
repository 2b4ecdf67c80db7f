"""From a row of attention over an image's tokens to a map over its pixels.

h, w rows and columns of the grid of tokens; H, W of the map, which is the image's size or, of a
large image, smaller: the grid holds no finer detail. A pixel that the model was not shown is NaN.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opendet.record import BoxXYXY

Heat = NDArray[np.float32]
"""(H, W) in [0, 1], NaN where the model was shown nothing."""
Flags = NDArray[np.bool_]

LONGEST_SIDE = 512
"""Pixels of a map."""


@dataclass(frozen=True, slots=True)
class NamedMap:
    """Where a model looked when it wrote a name."""

    name: str
    grid: NDArray[np.float32]
    """(h, w), any unit: only what is more and what less counts."""
    shown_xyxy: BoxXYXY
    """What the grid covers, in the image's pixels. A model may be shown less than the whole image,
    or the image with a margin."""


def of_larger(named: NamedMap, small_wh: tuple[int, int], large_wh: tuple[int, int]) -> NamedMap:
    """The map of the image in its larger size, of which the model was shown the smaller one."""
    x0, y0, x1, y1 = named.shown_xyxy
    per_x, per_y = large_wh[0] / small_wh[0], large_wh[1] / small_wh[1]
    return replace(named, shown_xyxy=(x0 * per_x, y0 * per_y, x1 * per_x, y1 * per_y))


def heat_of(named: NamedMap, size_wh: tuple[int, int]) -> Heat | None:
    """The map over an image of that size, bilinear, its least value 0 and its greatest 1; None of
    one that is everywhere the same."""
    width, height = map_size(size_wh)
    rows, columns = named.grid.shape
    x0, y0, x1, y1 = named.shown_xyxy
    per_x, per_y = columns / (x1 - x0), rows / (y1 - y0)  # cells a pixel of the image
    turn = (size_wh[0] / width * per_x, 0, -x0 * per_x, 0, size_wh[1] / height * per_y, -y0 * per_y)
    spread = Image.fromarray(_between_0_and_1(named.grid)).transform(
        (width, height), Image.Transform.AFFINE, turn, Image.Resampling.BILINEAR, fillcolor=np.nan
    )
    heat = np.asarray(spread, np.float32)
    if not np.isfinite(heat).any() or np.nanmax(heat) <= np.nanmin(heat):
        return None
    return _between_0_and_1(heat)


def cell_of(named: NamedMap, size_wh: tuple[int, int]) -> int:
    """Pixels of the map that are a side of one cell of the grid, the longer side."""
    x0, y0, x1, y1 = named.shown_xyxy
    rows, columns = named.grid.shape
    side = max((x1 - x0) / columns, (y1 - y0) / rows)  # pixels of the image
    return max(1, int(0.5 + side * map_size(size_wh)[0] / size_wh[0]))


def map_size(size_wh: tuple[int, int]) -> tuple[int, int]:
    """W, H of the map of an image of that width and height."""
    shrink = min(1.0, LONGEST_SIDE / max(size_wh))
    return max(1, round(size_wh[0] * shrink)), max(1, round(size_wh[1] * shrink))


def without(heat: Heat, mask: Flags) -> Heat:
    """The map with 0 inside the mask (H, W): what is left to be found."""
    return np.where(_fitting(heat, mask) & np.isfinite(heat), np.float32(0), heat)


def within(heat: Heat, mask: Flags) -> Heat:
    """The map with 0 outside the mask (H, W)."""
    return without(heat, ~_fitting(heat, mask))


def _fitting(heat: Heat, mask: Flags) -> Flags:
    if heat.shape != mask.shape:
        raise ValueError(
            f"a mask of {mask.shape[1]} x {mask.shape[0]} pixels does not lie on a map of "
            f"{heat.shape[1]} x {heat.shape[0]}: bring it to the map's size first"
        )
    return mask


def _between_0_and_1(values: Heat) -> Heat:
    low, high = np.nanmin(values), np.nanmax(values)
    return ((values - low) / max(high - low, np.finfo(np.float32).tiny)).astype(np.float32)
