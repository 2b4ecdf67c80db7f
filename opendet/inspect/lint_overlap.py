"""Boxes that double earlier ones, found among many thousands of one place.

An IoU above t leaves two boxes nearly the same sides and the same corner, so that each box is only
compared with those of its own neighbourhood. Boxes that double none are few in a neighbourhood,
however many boxes are stacked there: the work grows with their number and not with its square.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import product

from opendet.record import BoxXYXY

FAR = 1e9  # pixels; neighbourhoods of boxes beyond it would be beyond all floats
THIN = 1e-3  # pixels; those of narrower boxes too
FEW = 16  # boxes; so many are sooner compared each with each
SLACK = 1.001  # what rounding puts over a neighbourhood's edge is within it
Cell = tuple[int, ...]
"""Of a box: the sizes of its sides, as powers, and its corner in steps of that size."""


def doubles_of(boxes_xyxy: Sequence[BoxXYXY], above: float) -> Iterator[tuple[int, int, float]]:
    """Each box with an IoU `above` that with an earlier one that doubles none: its index, that of
    the nearest such, their IoU.

    `above` is in (0, 1). Boxes that are a point or a line, or lie beyond all images, double those
    that equal them to the last digit.
    """
    assert 0 < above < 1, f"an IoU in (0, 1), not {above}"
    if len(boxes_xyxy) < 2:
        return
    near = _Cells(above, one=len(boxes_xyxy) <= FEW)
    odd: dict[BoxXYXY, int] = {}
    for index, box_xyxy in enumerate(boxes_xyxy):
        if not _has_place(box_xyxy):
            if (early := odd.setdefault(box_xyxy, index)) != index:
                yield index, early, 1.0
            continue
        ious = ((iou_of(boxes_xyxy[i], box_xyxy), i) for i in near.to(box_xyxy))
        iou, nearest = max(ious, default=(0.0, 0))
        if iou > above:
            yield index, nearest, iou
        else:
            near.add(index, box_xyxy)


def iou_of(first: BoxXYXY, second: BoxXYXY) -> float:
    """In [0, 1]; of two boxes without an area, whether they are equal."""
    shared = intersection_of(first, second)
    union = area_of(first) + area_of(second) - shared
    return shared / union if union > 0 else float(first == second)


def intersection_of(first: BoxXYXY, second: BoxXYXY) -> float:
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    return max(wide, 0.0) * max(high, 0.0)


def area_of(box_xyxy: BoxXYXY) -> float:
    return (box_xyxy[2] - box_xyxy[0]) * (box_xyxy[3] - box_xyxy[1])


class _Cells:
    """Knows which boxes may have an IoU above t with another one.

    Such boxes have sides of a ratio in (t, 1/t), which are of one power of 1/t or of neighbours;
    and their corners are apart by less than 1 - t of the longer side, which is one step at most.
    """

    def __init__(self, above: float, *, one: bool) -> None:
        """With `one`, all boxes are of one neighbourhood."""
        self._one = one
        self._log = math.log(1 / above) * SLACK
        self._step = (1 - above) * SLACK
        self._held: defaultdict[Cell, list[int]] = defaultdict(list)

    def add(self, index: int, box_xyxy: BoxXYXY) -> None:
        self._held[self._cell_of(box_xyxy)].append(index)

    def to(self, box_xyxy: BoxXYXY) -> Iterator[int]:
        """Indices of the boxes added that are of its neighbourhood."""
        if self._one:
            yield from self._held.get((), ())
            return
        for powers in product(*(_around(power) for power in self._powers_of(box_xyxy))):
            for steps in product(*(_around(step) for step in self._corner_of(box_xyxy, powers))):
                yield from self._held.get((*powers, *steps), ())

    def _cell_of(self, box_xyxy: BoxXYXY) -> Cell:
        if self._one:
            return ()
        powers = self._powers_of(box_xyxy)
        return (*powers, *self._corner_of(box_xyxy, powers))

    def _powers_of(self, box_xyxy: BoxXYXY) -> Cell:
        x0, y0, x1, y1 = box_xyxy
        return self._power(x1 - x0), self._power(y1 - y0)

    def _corner_of(self, box_xyxy: BoxXYXY, powers: Cell) -> Cell:
        return tuple(self._steps(box_xyxy[axis], powers[axis]) for axis in (0, 1))

    def _power(self, side: float) -> int:
        return math.floor(math.log(side) / self._log)

    def _steps(self, place: float, power: int) -> int:
        longest = math.exp((power + 2) * self._log)  # of a neighbour's side too
        return math.floor(place / (longest * self._step))


def _around(number: int) -> tuple[int, int, int]:
    return number - 1, number, number + 1


def _has_place(box_xyxy: BoxXYXY) -> bool:
    x0, y0, x1, y1 = box_xyxy
    return min(x1 - x0, y1 - y0) >= THIN and max(map(abs, box_xyxy)) <= FAR
