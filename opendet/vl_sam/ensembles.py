"""An image in several views, and what is found in all of them made one.

Most of the published score comes from here: the whole image and its quarters, and many questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from opendet.annotators.detection import Found
from opendet.annotators.tiling import Tile

LEAST_SIDE = 2
"""Pixels of a view."""
MOST_ELONGATED = 100
"""How often a view's shorter side goes into its longer one at most: Qwen-VL takes 200, and SAM what
leaves the shorter side a pixel."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing, and all that it was called."""

    surest: Found
    """The surest of its masks."""
    names: dict[str, float]
    """Each name's own greatest score, the greatest first."""


def views(size_wh: tuple[int, int], *, corners: bool) -> list[Tile]:
    """The whole image, and its four quarters, row by row, where it is large enough for them."""
    width, height = size_wh
    whole = (0, 0, width, height)
    left, top = width // 2, height // 2
    if not corners or min(left, top) < LEAST_SIDE:
        return [whole]
    columns, rows = ((0, left), (left, width)), ((0, top), (top, height))
    return [whole, *((x0, y0, x1, y1) for y0, y1 in rows for x0, x1 in columns)]


def is_narrow(view: Tile) -> bool:
    """Whether a view is more elongated than models take it."""
    x0, y0, x1, y1 = view
    return max(x1 - x0, y1 - y0) > MOST_ELONGATED * min(x1 - x0, y1 - y0)


def joined(found: Sequence[Found], size_wh: tuple[int, int], iou: float) -> list[Thing]:
    """Each thing once, the surest first: a mask takes in those less sure whose IoU with it is `iou`
    or more, whatever they are called. All of them have masks."""
    from faster_coco_eval.core import mask as masks

    ordered = sorted(found, key=lambda one: (-one.score, one.box_xyxy, one.name, one.mask))
    codes = [{"size": [size_wh[1], size_wh[0]], "counts": one.mask} for one in ordered]
    free = np.ones(len(ordered), np.bool_)
    things = []
    for place, one in enumerate(ordered):
        if not free[place]:
            continue
        others = place + np.flatnonzero(free[place:])  # itself is the first
        overlaps = np.asarray(masks.iou([codes[n] for n in others], [codes[place]], [0]))[:, 0]
        taken = [place, *others[1:][overlaps[1:] >= iou]]
        free[taken] = False
        names: dict[str, float] = {}
        for number in taken:
            names.setdefault(ordered[number].name, ordered[number].score)
        things.append(Thing(one, names))
    return things
