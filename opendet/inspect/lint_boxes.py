"""Rules for boxes: where loaders drop one in silence, or a model learns a wrong one."""

import math
from collections import defaultdict
from collections.abc import Iterator

from opendet.inspect.lint_kinds import Finding
from opendet.inspect.lint_overlap import area_of, doubles_of, intersection_of
from opendet.inspect.lint_view import GroundedImage, NamedBox, Span, plain

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
    """What of a box is inside the image must be longer than a pixel.

    Loaders keep one of a pixel to a digit; a build does not, since VOC's empty boxes are so long.
    """
    for box in image.sound_boxes:
        x0, y0, x1, y1 = box.box_xyxy
        if x1 - x0 < MIN_SIDE or y1 - y0 < MIN_SIDE:
            said = f"it is {x1 - x0:g} by {y1 - y0:g} pixels: loaders drop it."
            yield Finding("box.tiny", box.part, said)
        elif (shown := _shown(box, image)) and min(shown) <= MIN_SIDE:
            said = f"{shown[0]:g} by {shown[1]:g} pixels of it are inside: a build drops it."
            yield Finding("box.thin", box.part, said)


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
        share = intersection_of(box.box_xyxy, frame) / area_of(frame)
        if share > WHOLE_IMAGE:
            yield Finding("box.whole_image", box.part, f"it covers {share:.1%} of the image.")


def enough_boxes(image: GroundedImage) -> Iterator[Finding]:
    if len(image.boxes) < MIN_BOXES:
        said = f"it has {len(image.boxes)}: GroundingCap drops images with fewer than {MIN_BOXES}."
        yield Finding("image.few_boxes", "", said)


def _doubles(boxes: list[NamedBox]) -> Iterator[tuple[NamedBox, NamedBox, float]]:
    """Each box that doubles an earlier one that doubles none: the earlier, it, and their IoU."""
    found = doubles_of([box.box_xyxy for box in boxes], DUPLICATE_IOU)
    return ((boxes[early], boxes[late], iou) for late, early, iou in found)


def _shown(box: NamedBox, image: GroundedImage) -> tuple[float, float] | None:
    """Width and height of its part inside the image; None where it lies beside it."""
    x0, y0, x1, y1 = box.box_xyxy
    wide = min(x1, image.width or math.inf) - max(x0, 0.0)
    high = min(y1, image.height or math.inf) - max(y0, 0.0)
    return (wide, high) if wide > 0 and high > 0 else None


def _corners(box: NamedBox) -> str:
    return f"[{', '.join(f'{side:g}' for side in box.box_xyxy)}]"
