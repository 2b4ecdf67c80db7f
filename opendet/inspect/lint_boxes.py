"""Rules for boxes: where loaders drop one in silence, or a model learns a wrong one."""

import math
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterator

from opendet.inspect.lint_kinds import Finding
from opendet.inspect.lint_view import GroundedImage, NamedBox, Span, plain
from opendet.record import BoxXYXY

MIN_SIDE = 1.0  # pixels; loaders drop what is smaller
ROUNDING = 1e-3  # pixels over the edge that are no defect
MAX_OVERHANG = 1.0  # pixels
WHOLE_IMAGE = 0.95  # of its area
DUPLICATE_IOU = 0.9
MIN_BOXES = 3


def finite_boxes(image: GroundedImage) -> Iterator[Finding]:
    for box in image.boxes:
        if not box.finite:
            yield Finding("box.not_finite", box.part, f"{_corners(box)} is no place.")


def upright_boxes(image: GroundedImage) -> Iterator[Finding]:
    for box in image.boxes:
        if box.finite and box.inverted:
            said = f"{_corners(box)} ends before it begins: expected x0, y0, x1, y1."
            yield Finding("box.inverted", box.part, said)


def visible_boxes(image: GroundedImage) -> Iterator[Finding]:
    for box in image.sound_boxes:
        x0, y0, x1, y1 = box.box_xyxy
        if x1 - x0 < MIN_SIDE or y1 - y0 < MIN_SIDE:
            said = f"it is {x1 - x0:g} by {y1 - y0:g} pixels: loaders drop it."
            yield Finding("box.tiny", box.part, said)


def inside_boxes(image: GroundedImage) -> Iterator[Finding]:
    """A box beside the image, or over its edges; an unknown side is taken for endless."""
    width, height = image.width or math.inf, image.height or math.inf
    for box in image.sound_boxes:
        x0, y0, x1, y1 = box.box_xyxy
        over = max(-x0, -y0, x1 - width, y1 - height)
        if over <= ROUNDING:
            continue
        size = f"the image of {width:g}x{height:g}"
        if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
            yield Finding("box.outside", box.part, f"{_corners(box)} lies beside {size}.")
        else:
            kind = "box.overhang" if over > MAX_OVERHANG else "box.edge"
            yield Finding(kind, box.part, f"{_corners(box)} reaches {over:g} px over {size}.")


def parted_boxes(image: GroundedImage) -> Iterator[Finding]:
    """A box that doubles an earlier one of its name, each once.

    A sentence may speak of one thing at two places, which only is worth a look.
    """
    of_mention: dict[tuple[str, tuple[Span, ...]], list[NamedBox]] = defaultdict(list)
    of_name: dict[str, list[NamedBox]] = defaultdict(list)
    for box in image.sound_boxes:
        if name := plain(box.name):
            of_mention[name, box.mention].append(box)
    for (name, _), boxes in of_mention.items():
        doubles = list(_doubles(boxes))
        for early, late, iou in doubles:
            said = f"it doubles {early.part} of the same name, IoU {iou:.3f}."
            yield Finding("box.duplicate", late.part, said)
        doubled = {late.part for _, late, _ in doubles}
        of_name[name] += [box for box in boxes if box.part not in doubled]
    for boxes in of_name.values():
        for early, late, iou in _doubles(boxes):
            said = f"{early.part} of the same name has it at another span, IoU {iou:.3f}."
            yield Finding("box.mentioned_again", late.part, said)


def modest_boxes(image: GroundedImage) -> Iterator[Finding]:
    if image.width is None or image.height is None:
        return
    frame = (0.0, 0.0, image.width, image.height)
    for box in image.sound_boxes:
        share = _intersection(box.box_xyxy, frame) / _area(frame)
        if share > WHOLE_IMAGE:
            yield Finding("box.whole_image", box.part, f"it covers {share:.1%} of the image.")


def enough_boxes(image: GroundedImage) -> Iterator[Finding]:
    if len(image.boxes) < MIN_BOXES:
        said = f"it has {len(image.boxes)}: GroundingCap drops images with fewer than {MIN_BOXES}."
        yield Finding("image.few_boxes", "", said)


def _doubles(boxes: list[NamedBox]) -> Iterator[tuple[NamedBox, NamedBox, float]]:
    """Each box that doubles an earlier one that doubles none: the earlier, it, and their IoU.

    An IoU above t leaves less than (1/t - 1) widths between the left edges, so that only boxes of
    nearly the same left edge are compared.
    """
    if len(boxes) < 2:
        return
    kept: list[tuple[float, int]] = []  # left edge, index
    for index, box in enumerate(boxes):
        x0, _, x1, _ = box.box_xyxy
        reach = (1 / DUPLICATE_IOU - 1) * (x1 - x0)
        begin = bisect_left(kept, (x0 - reach, 0))
        end = bisect_right(kept, (x0 + reach, index))
        ious = ((_iou(boxes[i].box_xyxy, box.box_xyxy), i) for _, i in kept[begin:end])
        iou, nearest = max(ious, default=(0.0, 0))
        if iou > DUPLICATE_IOU:
            yield boxes[nearest], box, iou
        else:
            insort(kept, (x0, index))


def _iou(first: BoxXYXY, second: BoxXYXY) -> float:
    shared = _intersection(first, second)
    union = _area(first) + _area(second) - shared
    return shared / union if union > 0 else float(first == second)


def _intersection(first: BoxXYXY, second: BoxXYXY) -> float:
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    return max(wide, 0.0) * max(high, 0.0)


def _area(box_xyxy: BoxXYXY) -> float:
    return (box_xyxy[2] - box_xyxy[0]) * (box_xyxy[3] - box_xyxy[1])


def _corners(box: NamedBox) -> str:
    return f"[{', '.join(f'{side:g}' for side in box.box_xyxy)}]"
