"""Where a box lies in its picture and against another box, in words.

All boxes are xyxy in pixels, y pointing down.
"""

import math
from typing import Literal

from opendet.record import BoxXYXY

Relation = Literal["left of", "right of", "above", "below", "overlapping", "next to"]

OVERLAPPING = 0.1
"""Two boxes that share less of the smaller one than this are next to each other instead."""


def place_of(box_xyxy: BoxXYXY, *, width: float, height: float) -> str:
    """`in the top left`, `on the right`, `at the bottom`, ...: in which third its centre lies."""
    column = _third((box_xyxy[0] + box_xyxy[2]) / 2 / width)
    row = _third((box_xyxy[1] + box_xyxy[3]) / 2 / height)
    across, down = ("left", "", "right")[column], ("top", "", "bottom")[row]
    if across and down:
        return f"in the {down} {across}"
    if across:
        return f"on the {across}"
    return f"at the {down}" if down else "in the centre"


def _third(share: float) -> int:
    return 0 if share < 1 / 3 else 1 if share <= 2 / 3 else 2


def relation_of(first_xyxy: BoxXYXY, second_xyxy: BoxXYXY) -> Relation:
    """How the first box lies to the second. `left of` and the like hold for the whole boxes."""
    rightwards, downwards = second_xyxy[0] - first_xyxy[2], second_xyxy[1] - first_xyxy[3]
    leftwards, upwards = first_xyxy[0] - second_xyxy[2], first_xyxy[1] - second_xyxy[3]
    gaps: tuple[tuple[float, Relation], ...] = (
        (rightwards, "left of"),
        (leftwards, "right of"),
        (downwards, "above"),
        (upwards, "below"),
    )
    widest, relation = max(gaps, key=lambda gap: gap[0])
    if widest >= 0:
        return relation
    shared = _area(_shared(first_xyxy, second_xyxy))
    smaller = min(_area(first_xyxy), _area(second_xyxy))
    return "overlapping" if shared >= OVERLAPPING * smaller else "next to"


def gap_between(first_xyxy: BoxXYXY, second_xyxy: BoxXYXY) -> float:
    """Pixels between two boxes; 0 where they touch."""
    x0, y0, x1, y1 = _shared(first_xyxy, second_xyxy)
    return math.hypot(max(x0 - x1, 0.0), max(y0 - y1, 0.0))


def _shared(first: BoxXYXY, second: BoxXYXY) -> BoxXYXY:
    """The box that two boxes share; inverted where they lie apart."""
    return (
        max(first[0], second[0]),
        max(first[1], second[1]),
        min(first[2], second[2]),
        min(first[3], second[3]),
    )


def _area(box_xyxy: BoxXYXY) -> float:
    return max(box_xyxy[2] - box_xyxy[0], 0.0) * max(box_xyxy[3] - box_xyxy[1], 0.0)
