"""Boxes that say the same thing twice are made one: a name's repeats go, and synonyms are joined.

N boxes of one image. A box's names are a list and not a contest: "sofa" and "couch" around one
thing are both kept, the surer first (spec: pseudo-annotation, chunked detection).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opendet.annotators.detection import Found
from opendet.record import BoxXYXY

Flags = NDArray[np.bool_]

ROWS = 256
"""Boxes whose overlap with all others is worked out at once, so that memory stays small."""


@dataclass(frozen=True, slots=True)
class Merged:
    """One thing, and all that it was called."""

    box_xyxy: BoxXYXY
    """Pixels; the surest box's."""
    names: tuple[str, ...]
    """Without repeats, the surest first; none where nobody named it."""
    score: float
    """In [0, 1]; the surest box's."""
    mask: str
    """The surest box's; empty where it has none."""


def suppress(
    found: Sequence[Found], *, same_name_iou: float, cross_name_iou: float
) -> list[Merged]:
    """One image's things, the surest first; the order of `found` is of no consequence.

    The surest box takes in all others of its name from `same_name_iou` on, then the next one left
    does. Those left take in boxes of other names from `cross_name_iou` on, with their names. The
    empty name is a name of its own until a box of another name is taken in; as the box may then
    repeat others of that name, both are done again until nothing changes. So the IoU of two
    answers of one first name is below `same_name_iou`, else below `cross_name_iou`, and answers
    that are given again stay as they are.
    """
    ordered = sorted(found, key=lambda one: (-one.score, one.box_xyxy, one.name, one.mask))
    same_near, cross_near = _near(ordered, (same_name_iou, cross_name_iou))
    groups = [[n] for n in range(len(ordered))]  # places in `ordered`, the surest first
    count = -1
    while count != len(groups):
        count = len(groups)
        groups = _taken_in(groups, ordered, same_near, same_name=True)
        groups = _taken_in(groups, ordered, cross_near, same_name=False)
    return [_merged([ordered[n] for n in group]) for group in groups]


def _near(ordered: Sequence[Found], limits: Sequence[float]) -> list[Flags]:
    """For each limit (N, N): is the column's box less sure than the row's and as near as that."""
    import torch

    from opendet.boxes import pairwise_iou

    count = len(ordered)
    near = [np.zeros((count, count), np.bool_) for _ in limits]
    boxes_xyxy = torch.tensor([one.box_xyxy for one in ordered], dtype=torch.float64)
    for start in range(0, count, ROWS):
        rows = slice(start, start + ROWS)
        iou = pairwise_iou(boxes_xyxy[rows], boxes_xyxy[start:])[0].numpy()
        for flags, limit in zip(near, limits, strict=True):
            flags[rows, start:] = np.triu(iou >= limit, k=1)
    return near


def _taken_in(
    groups: list[list[int]], ordered: Sequence[Found], near: Flags, *, same_name: bool
) -> list[list[int]]:
    """Greedily: each group, the surest first, with those that its surest box takes in."""
    numbers: dict[str, int] = {}
    names = np.array(
        [numbers.setdefault(_first_name(group, ordered), len(numbers)) for group in groups]
    )
    surest = [group[0] for group in groups]
    near = near[np.ix_(surest, surest)]
    free = np.ones(len(groups), np.bool_)
    fuller = []
    for n, group in enumerate(groups):
        if not free[n]:
            continue
        taken = np.flatnonzero(near[n] & free & ((names == names[n]) == same_name))
        free[taken] = False
        fuller.append(sorted(group + [member for place in taken for member in groups[place]]))
    return fuller


def _first_name(group: Sequence[int], ordered: Sequence[Found]) -> str:
    return next((ordered[n].name for n in group if ordered[n].name), "")


def _merged(members: Sequence[Found]) -> Merged:
    surest = members[0]
    names = tuple(dict.fromkeys(one.name for one in members if one.name))
    return Merged(surest.box_xyxy, names, surest.score, surest.mask)
