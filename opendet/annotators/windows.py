"""The part of an image that a box is shown in."""

from opendet.record import BoxXYXY, Record


def window_of(
    record: Record, box_xyxy: BoxXYXY | None, context: float | None
) -> tuple[int, int, int, int]:
    """A box with its surroundings, at least one pixel large; the whole image without a context."""
    if box_xyxy is None or context is None:
        return 0, 0, record.width, record.height
    x0, y0, x1, y1 = box_xyxy
    across, down = context * (x1 - x0), context * (y1 - y0)
    left, top = int(max(x0 - across, 0)), int(max(y0 - down, 0))
    right = max(int(min(x1 + across, record.width) + 0.999), left + 1)
    bottom = max(int(min(y1 + down, record.height) + 0.999), top + 1)
    return left, top, right, bottom
