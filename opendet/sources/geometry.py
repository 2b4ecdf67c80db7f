"""Boxes of annotations: into the upright frame, and into the image. Plain floats, no torch."""

import math

from opendet.record import BoxXYXY

MIN_SIDE = 1.0
"""Pixels; a box no longer than this in one side is a point or a line that nobody can see.
VOC's empty boxes (xmin = xmax) come out exactly this long."""


def upright_box(box_xyxy: BoxXYXY, *, orientation: int, width: int, height: int) -> BoxXYXY:
    """A box of the stored image, of that size, in the frame that EXIF orientation 1 to 8 shows."""
    x0, y0, x1, y1 = box_xyxy
    match orientation:
        case 1:
            return box_xyxy
        case 2:  # mirrored from left to right
            return (width - x1, y0, width - x0, y1)
        case 3:  # turned half round
            return (width - x1, height - y1, width - x0, height - y0)
        case 4:  # mirrored from top to bottom
            return (x0, height - y1, x1, height - y0)
        case 5:  # transposed
            return (y0, x0, y1, x1)
        case 6:  # to be turned clockwise
            return (height - y1, x0, height - y0, x1)
        case 7:  # transposed along the other diagonal
            return (height - y1, width - x1, height - y0, width - x0)
        case 8:  # to be turned counter-clockwise
            return (y0, width - x1, y1, width - x0)
    raise AssertionError(f"EXIF knows no orientation {orientation}")


def fit_box(box_xyxy: BoxXYXY, *, width: int, height: int) -> tuple[BoxXYXY | None, str]:
    """The part of a box inside the image, and what was wrong with it.

    None with a reason for a box that cannot be used; `clipped` for one that stood out; else an
    empty reason.
    """
    x0, y0, x1, y1 = box_xyxy
    if not all(math.isfinite(side) for side in box_xyxy):
        return None, "not finite"
    if x1 < x0 or y1 < y0:
        return None, "inverted"
    if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
        return None, "outside"
    inside = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
    if min(inside[2] - inside[0], inside[3] - inside[1]) <= MIN_SIDE:
        return None, "degenerate"
    return inside, "" if inside == box_xyxy else "clipped"
