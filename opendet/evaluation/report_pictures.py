"""The report's pictures: data: URIs, boxes with numbers, crops.

An image goes into the page as a JPEG of its own, small enough; boxes are drawn over it as vectors.
"""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from opendet.evaluation.ap import Truth
from opendet.evaluation.match import match_boxes
from opendet.evaluation.predictions import ImagePrediction
from opendet.evaluation.truth import truth_of
from opendet.record import BoxXYXY, Record, Region
from opendet.sources.images import decode_upright

ReadImage = Callable[[Record], bytes]
"""A record -> its file's bytes."""

_LONGEST = 640
_CROP = 112
_CONTEXT = 0.2  # How much of its longer side a crop shows around the box.
_COLOURS = 8  # So many classes of the page's CSS tell boxes apart.


@dataclass(frozen=True, slots=True)
class Box:
    """A numbered rectangle over a picture, in percent of the picture."""

    x: float
    y: float
    width: float
    height: float
    mark: str
    colour: int


@dataclass(frozen=True, slots=True)
class Line:
    """One object of a picture in words."""

    mark: str
    colour: int
    truth: str
    said: str
    others: str
    """The other beams."""
    score: str
    verdict: str
    """`right`, `wrong`, `missed` or `extra`."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One image twice: what is there, and what the detector says."""

    key: str
    uri: str
    width: int
    height: int
    true_boxes: tuple[Box, ...]
    found_boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Crop:
    """A region cut out, and what was said of it."""

    uri: str
    said: str
    truth: str
    agreement: str
    """Cosine of crop and name."""
    rival: str
    """Cosine of crop and the best other name."""
    key: str


def evenly(count: int, most: int) -> list[int]:
    """At most so many places of 0..count-1, evenly spread: nobody chose them by their result."""
    shown = min(count, most)
    return [(2 * number + 1) * count // (2 * shown) for number in range(shown)]


def compare(
    record: Record, found: ImagePrediction, content: bytes, *, shown_above: float, match_iou: float
) -> Comparison:
    """Truth beside prediction; a prediction bears the number of the object that it found."""
    labels = [one.label for one in record.regions if one.label is not None]
    truth = truth_of(record, sorted(set(labels)))
    drawn = [place for place, score in enumerate(found.scores) if score >= shown_above]
    pairs = dict(match_boxes(truth, found.boxes_xyxy[drawn], match_iou))
    marks = _marks(len(drawn), pairs)
    image = decode_upright(content)
    image.thumbnail((_LONGEST, _LONGEST))
    return Comparison(
        key=record.key,
        uri=jpeg_uri(image),
        width=image.width,
        height=image.height,
        true_boxes=tuple(
            _box(tuple(box_xyxy), record, str(number + 1), number)
            for number, box_xyxy in enumerate(truth.boxes_xyxy)
        ),
        found_boxes=tuple(
            _box(tuple(found.boxes_xyxy[place]), record, *marks[order])
            for order, place in enumerate(drawn)
        ),
        lines=(
            *_truth_lines(truth, labels, found, drawn, pairs),
            *_extra_lines(found, drawn, pairs, marks),
        ),
    )


def crop_of(record: Record, region: Region, content: bytes) -> Crop:
    """The region with some of its surroundings, and what was said of it."""
    agreement, rival = region.agreement, region.rival_agreement
    return Crop(
        uri=crop_uri(decode_upright(content), region.box_xyxy),
        said=region.names[0] if region.names else "",
        truth=region.label or "",
        agreement="" if agreement is None else f"{agreement:.2f}",
        rival="" if rival is None else f"{rival:.2f}",
        key=record.key,
    )


def crop_uri(image: Image.Image, box_xyxy: BoxXYXY) -> str:
    """A square around the box, `_CROP` pixels wide; at the border it moves inwards."""
    x0, y0, x1, y1 = box_xyxy
    side = max(x1 - x0, y1 - y0, 1.0) * (1 + 2 * _CONTEXT)
    left = _inside((x0 + x1 - side) / 2, side, image.width)
    top = _inside((y0 + y1 - side) / 2, side, image.height)
    square = (round(left), round(top), round(left + side), round(top + side))
    return jpeg_uri(image.crop(square).resize((_CROP, _CROP), Image.Resampling.BICUBIC))


def _inside(start: float, side: float, whole: int) -> float:
    """Where a span of that side must start to lie within, or in the middle where it is longer."""
    return (whole - side) / 2 if side > whole else min(max(start, 0.0), whole - side)


def jpeg_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _marks(count: int, pairs: dict[int, int]) -> list[tuple[str, int]]:
    """For each drawn prediction its mark and colour: the number of its object, else a letter."""
    marks, extras = [], 0
    for order in range(count):
        if order in pairs:
            marks.append((str(pairs[order] + 1), pairs[order]))
        else:
            marks.append((_letter(extras), -1))
            extras += 1
    return marks


def _letter(number: int) -> str:
    return chr(ord("a") + number % 26) + (str(number // 26) if number >= 26 else "")


def _box(box_xyxy: Sequence[float], record: Record, mark: str, colour: int) -> Box:
    x0, y0, x1, y1 = box_xyxy
    across, down = 100 / record.width, 100 / record.height
    return Box(
        round(float(x0 * across), 2),
        round(float(y0 * down), 2),
        round(float((x1 - x0) * across), 2),
        round(float((y1 - y0) * down), 2),
        mark,
        colour % _COLOURS if colour >= 0 else -1,
    )


def _truth_lines(
    truth: Truth,
    labels: Sequence[str],
    found: ImagePrediction,
    drawn: Sequence[int],
    pairs: dict[int, int],
) -> list[Line]:
    finder = {target: drawn[order] for order, target in pairs.items()}
    lines = []
    for number, label in enumerate(labels):
        mark, colour = str(number + 1), number % _COLOURS
        place = finder.get(number)
        if place is None:
            verdict = "crowd" if truth.crowd[number] else "missed"
            lines.append(Line(mark, colour, label, "", "", "", verdict))
        else:
            said, others = _words(found, place)
            verdict = "right" if said.casefold() == label.casefold() else "wrong"
            score = f"{found.scores[place]:.2f}"
            lines.append(Line(mark, colour, label, said, others, score, verdict))
    return lines


def _extra_lines(
    found: ImagePrediction,
    drawn: Sequence[int],
    pairs: dict[int, int],
    marks: Sequence[tuple[str, int]],
) -> list[Line]:
    lines = []
    for order, place in enumerate(drawn):
        if order not in pairs:
            said, others = _words(found, place)
            score = f"{found.scores[place]:.2f}"
            lines.append(Line(marks[order][0], -1, "", said, others, score, "extra"))
    return lines


def _words(found: ImagePrediction, place: int) -> tuple[str, str]:
    beams = list(dict.fromkeys(found.names[place]))
    return (beams[0] if beams else ""), ", ".join(beams[1:])
