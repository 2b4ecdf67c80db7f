"""What was done to a record's regions, told from the objects that an edited file has instead."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from opendet.corrections.applying import is_corrected
from opendet.corrections.edits import SAME_OBJECT, Edit, Seen, overlap, same_place
from opendet.exports.objects import name_of
from opendet.record import Record, Region

Likeness = Callable[[Seen, Seen], float]
"""How well a region and an object go together; 0 where they do not."""


def state_of(record: Record) -> str:
    """Twelve hexadecimal digits of what a record's objects are, whatever the filter refused: an
    export says them, so that a file that shows an older state corrects nothing."""
    objects = [
        [[round(side, 3) for side in one.box_xyxy], name_of(one), is_corrected(one)]
        for one in record.regions
    ]
    return hashlib.sha256(json.dumps(objects).encode()).hexdigest()[:12]


def edits_between(
    regions: Iterable[Region], objects: Sequence[Seen], *, tolerance: float
) -> tuple[list[Edit], int]:
    """The edits that make the regions of an image the objects, and how many were left alone; a side
    that is off by `tolerance` pixels is not moved.

    A region that the filter refused, and a crowd, may be among the objects or not: it is told by
    its place alone, and was not deleted where it is missing. Nor was one without a name, which no
    file shows.
    """
    shown = [(region, Seen(region.box_xyxy, name_of(region))) for region in regions]
    firm = [seen for one, seen in shown if seen.name and one.kept and not one.crowd]
    loose = [seen for one, seen in shown if seen.name and (one.crowd or not one.kept)]
    in_place, named_in_place, moved, named_moved = _ways(tolerance)
    left = list(objects)
    pairs = [
        pair
        for regions_of, likeness in (
            *((firm, way) for way in (named_in_place, in_place, named_moved, moved)),
            *((loose, way) for way in (named_in_place, in_place)),
        )
        for pair in _taken(regions_of, left, likeness)
    ]
    # A file's rounding is no correction: a box that is in its place stays what it was.
    changes = [
        Edit(was, replace(now, box_xyxy=was.box_xyxy) if in_place(was, now) else now)
        for was, now in pairs
    ]
    edits = [one for one in changes if one.kinds]
    unchanged = len(changes) - len(edits)
    return [
        *edits,
        *(Edit(was, None) for was in firm),
        *(Edit(None, now) for now in left),
    ], unchanged


def _ways(tolerance: float) -> tuple[Likeness, Likeness, Likeness, Likeness]:
    """In its place; so and of its name; moved; so and of its name. The nearest goes first."""

    def in_place(was: Seen, now: Seen) -> float:
        if not same_place(was.box_xyxy, now.box_xyxy, tolerance=tolerance):
            return 0.0
        apart = zip(was.box_xyxy, now.box_xyxy, strict=True)
        return 1 / (1 + max(abs(a - b) for a, b in apart))

    def moved(was: Seen, now: Seen) -> float:
        iou = overlap(was.box_xyxy, now.box_xyxy)
        return iou if iou >= SAME_OBJECT else 0.0

    def named(likeness: Likeness) -> Likeness:
        return lambda was, now: likeness(was, now) if was.name == now.name else 0.0

    return in_place, named(in_place), moved, named(moved)


def _taken(firsts: list[Seen], seconds: list[Seen], likeness: Likeness) -> list[tuple[Seen, Seen]]:
    """Take the pairs that go together out of both lists, the most alike first."""
    alike = sorted(
        (-degree, i, j)
        for i, first in enumerate(firsts)
        for j, second in enumerate(seconds)
        if (degree := likeness(first, second))
    )
    pairs: dict[int, int] = {}
    gone: set[int] = set()
    for _, i, j in alike:
        if i not in pairs and j not in gone:
            pairs[i] = j
            gone.add(j)
    taken = [(firsts[i], seconds[j]) for i, j in sorted(pairs.items())]
    firsts[:] = [first for i, first in enumerate(firsts) if i not in pairs]
    seconds[:] = [second for j, second in enumerate(seconds) if j not in gone]
    return taken
