"""What a person changed about one object.

Boxes are xyxy in pixels of the upright image, as records have them.
"""

from dataclasses import dataclass

from opendet.record import BoxXYXY, Region

SAME_OBJECT = 0.5
"""IoU from which two boxes may be one object that was moved."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as somebody saw it: a box, and one name."""

    box_xyxy: BoxXYXY
    name: str


@dataclass(frozen=True, slots=True)
class Edit:
    """One object before and after; equal ones are no edit."""

    was: Seen | None
    """None for an object that was added."""
    now: Seen | None
    """None for one that was deleted."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """One or both of `moved` and `renamed`, or `added`, or `deleted`."""
        if self.was is None or self.now is None:
            return ("added",) if self.was is None else ("deleted",)
        moved = not same_place(self.was.box_xyxy, self.now.box_xyxy)
        renamed = self.was.name != self.now.name
        return ("moved",) * moved + ("renamed",) * renamed


def seen_of(region: Region) -> Seen:
    """The region as an export shows it: by what is believed first, else by what the source says."""
    return Seen(region.box_xyxy, region.names[0] if region.names else region.label or "")


def same_place(first: BoxXYXY, second: BoxXYXY, *, tolerance: float = 0.001) -> bool:
    """Whether no side of one is further from that of the other, in pixels."""
    return all(abs(a - b) <= tolerance for a, b in zip(first, second, strict=True))


def overlap(first: BoxXYXY, second: BoxXYXY) -> float:
    """IoU in [0, 1] of two boxes; `opendet.boxes` has it for tensors of many."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (first, second))
    return width * height / (areas - width * height)
