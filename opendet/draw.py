"""Boxes, masks and names drawn on a picture, for people."""

import colorsys
import math
from collections.abc import Iterable, Sequence
from zlib import crc32

from PIL import Image, ImageDraw, ImageFont

from opendet.detections import Detections
from opendet.sources.images import to_rgb

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Plate = tuple[float, float, float, float]
"""Where a label lies: x0, y0, x1, y1 in pixels of the drawing."""

LEAST_SIDE = 512
"""Pixels of a drawing's longer side."""
MASK_SHARE = 0.45
"""Of a mask's colour in the pixels inside it."""


def draw_detections(
    image: Image.Image, detections: Detections, *, min_score: float = 0.0
) -> Image.Image:
    """A copy of the picture with a box, the likeliest name and the score of each object, and its
    mask where there is one.

    A name has the same colour in every picture. The surest object is drawn last, on top, and no
    line crosses a label. A picture smaller than `LEAST_SIDE` is enlarged by a whole factor first,
    or its names would hide it.
    """
    scale = max(1, math.ceil(LEAST_SIDE / max(image.size)))
    scores = detections.scores.tolist()
    shown = [place for place in reversed(range(len(scores))) if scores[place] >= min_score]
    canvas = to_rgb(image)
    _tint(canvas, detections, shown)
    if scale > 1:
        canvas = canvas.resize(
            (image.width * scale, image.height * scale), Image.Resampling.LANCZOS
        )
    pen = ImageDraw.Draw(canvas)
    unit = max(canvas.size) / 400  # pixels: thin lines on small pictures, visible ones on large
    boxes_xyxy = [tuple((detections.boxes_xyxy[place] * scale).tolist()) for place in shown]
    colours = [colour_of(detections.names[place][0]) for place in shown]
    for box_xyxy, colour in zip(boxes_xyxy, colours, strict=True):
        pen.rectangle(box_xyxy, outline=colour, width=max(1, round(1.25 * unit)))
    font = ImageFont.load_default(size=max(10.0, 9 * unit))
    texts = [f"{detections.names[place][0]} {scores[place]:.2f}" for place in shown]
    plates = _plates(pen, boxes_xyxy, texts, font)
    for plate, text, colour in zip(plates, texts, colours, strict=True):
        _label(pen, plate, text, colour, font)
    return canvas


def colour_of(name: str) -> Colour:
    """A bright colour that depends on the name alone."""
    number = crc32(name.encode())
    hue, paler, darker = number / 2**32, number % 3, number // 3 % 2  # 6 kinds of each hue
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.9 - 0.2 * paler, 0.97 - 0.15 * darker)
    return round(255 * red), round(255 * green), round(255 * blue)


def _tint(canvas: Image.Image, detections: Detections, shown: Iterable[int]) -> None:
    """Colours what lies inside of the masks, those that are `shown` last over the others."""
    if detections.masks is None:
        return
    from opendet.predict_masks import mask_pixels

    for place in shown:
        if code := detections.masks[place]:
            inside = mask_pixels(code, (canvas.height, canvas.width))
            cover = Image.fromarray(inside.astype("uint8") * round(255 * MASK_SHARE))
            canvas.paste(colour_of(detections.names[place][0]), mask=cover)


def _plates(
    pen: ImageDraw.ImageDraw, boxes_xyxy: Sequence[Plate], texts: Sequence[str], font: Font
) -> list[Plate]:
    """Where each label lies: above its box, else within or below it, where no surer one's is."""
    placed: list[Plate] = []
    for box_xyxy, text in zip(reversed(boxes_xyxy), reversed(texts), strict=True):
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        wide, high = right - left + 4, bottom - top + 4
        x0, y0, _, y1 = box_xyxy
        x = max(0.0, min(x0, pen.im.size[0] - wide))
        rows = [y for y in (y0 - high, y0, y1 - high, y1) if 0 <= y <= pen.im.size[1] - high]
        free = [(x, y, x + wide, y + high) for y in rows or [y0]]
        placed.append(next((one for one in free if not _covers_any(one, placed)), free[0]))
    return placed[::-1]


def _covers_any(plate: Plate, others: Iterable[Plate]) -> bool:
    x0, y0, x1, y1 = plate
    return any(x0 < b1 and a0 < x1 and y0 < d1 and c0 < y1 for a0, c0, b1, d1 in others)


def _label(pen: ImageDraw.ImageDraw, plate: Plate, text: str, colour: Colour, font: Font) -> None:
    left, top, _, _ = pen.textbbox((0, 0), text, font=font)
    pen.rectangle(plate, fill=colour)
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    corner = plate[0] + 2 - left, plate[1] + 2 - top
    pen.text(corner, text, fill="black" if bright else "white", font=font)
