"""From a map to a pair of points: one inside a thing, one beside it.

H, W height and width of a map; x, y its pixels.
"""

from typing import Literal

import numpy as np

from opendet.annotators.segment import PointPair
from opendet.vl_sam.heatmaps import Flags, Heat

Threshold = Literal["mean_std", "otsu"]

BINS = 256
"""Of Otsu's histogram."""


def cutoff_of(heat: Heat, rule: Threshold) -> float:
    """Above which a pixel is hot: the mean and one standard deviation, or where Otsu's rule parts
    the map's values into two kinds (the paper says only that there is a threshold)."""
    values = heat[np.isfinite(heat)]
    return _otsu(values) if rule == "otsu" else float(values.mean() + values.std())


def positive_area(heat: Heat, cutoff: float) -> Flags | None:
    """(H, W): the largest connected piece of what is hotter than the cutoff, by its pixels, the
    first of equals; None where nothing is."""
    from scipy import ndimage

    pieces, count = ndimage.label(heat > cutoff)  # NaN is not hotter than anything
    if not count:
        return None
    sizes = np.bincount(pieces.ravel())[1:]
    area: Flags = pieces == 1 + int(sizes.argmax())
    return area


def point_pair(heat: Heat, cutoff: float) -> PointPair | None:
    """The hottest point of the positive area and the coldest outside of it, in the map's pixels.

    Of equally cold ones, which abound where attention was set to 0, the farthest from the hot one.
    None where nothing is hot, or all is.
    """
    area = positive_area(heat, cutoff)
    if area is None:
        return None
    beside = np.isfinite(heat) & ~area
    if not beside.any():
        return None
    y, x = np.unravel_index(int(np.where(area, heat, -np.inf).argmax()), heat.shape)
    rows, columns = np.nonzero(beside & (heat == heat[beside].min()))
    far = int(((rows - y) ** 2 + (columns - x) ** 2).argmax())
    return PointPair((float(x), float(y)), (float(columns[far]), float(rows[far])))


def in_pixels(pair: PointPair, map_wh: tuple[int, int], image_wh: tuple[int, int]) -> PointPair:
    """A pair from a map's pixels to those of its image: the middle of one is that of the other."""
    inside, outside = (
        (
            (x + 0.5) * image_wh[0] / map_wh[0] - 0.5,
            (y + 0.5) * image_wh[1] / map_wh[1] - 0.5,
        )
        for x, y in (pair.inside_xy, pair.outside_xy)
    )
    return PointPair(inside, outside)


def _otsu(values: Heat) -> float:
    """Where a histogram's two sides have the most variance between them; the middle of equals."""
    counts, edges = np.histogram(values, BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    below = counts.cumsum()[:-1]  # (BINS - 1)
    above = counts.sum() - below
    sums = (counts * middles).cumsum()
    apart = (sums[-1] - sums[:-1]) / np.maximum(above, 1) - sums[:-1] / np.maximum(below, 1)
    between = below * above * apart**2
    return float(edges[1:-1][between == between.max()].mean())
