"""Boxes, masks and names drawn on a picture, for people."""

import colorsys
import math
from collections.abc import Iterable
from zlib import crc32

from PIL import Image, ImageDraw, ImageFont

from opendet.detections import Detections
from opendet.predict_masks import mask_pixels

Colour = tuple[int, int, int]

LEAST_SIDE = 512
"""Pixels of a drawing's longer side."""
MASK_SHARE = 0.45
"""Of a mask's colour in the pixels inside it."""


def draw_detections(
    image: Image.Image, detections: Detections, *, min_score: float = 0.0
) -> Image.Image:
    """A copy of the picture with a box, the likeliest name and the score of each object, and its
    mask where there is one.

    A name has the same colour in every picture. The surest object is drawn last, on top. A picture
    smaller than `LEAST_SIDE` is enlarged by a whole factor first, or its names would hide it.
    """
    scale = max(1, math.ceil(LEAST_SIDE / max(image.size)))
    scores = detections.scores.tolist()
    shown = [place for place in reversed(range(len(scores))) if scores[place] >= min_score]
    canvas = image.convert("RGB")
    _tint(canvas, detections, shown)
    if scale > 1:
        canvas = canvas.resize(
            (image.width * scale, image.height * scale), Image.Resampling.LANCZOS
        )
    pen = ImageDraw.Draw(canvas)
    unit = max(canvas.size) / 400  # pixels: thin lines on small pictures, visible ones on large
    font = ImageFont.load_default(size=max(10.0, 10 * unit))
    for place in shown:
        name, score = detections.names[place][0], scores[place]
        box_xyxy = tuple((detections.boxes_xyxy[place] * scale).tolist())
        pen.rectangle(box_xyxy, outline=colour_of(name), width=max(1, round(1.5 * unit)))
        _label(pen, box_xyxy[:2], f"{name} {score:.2f}", colour_of(name), font)
    return canvas


def colour_of(name: str) -> Colour:
    """A bright colour that depends on the name alone."""
    hue = crc32(name.encode()) / 2**32
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def _tint(canvas: Image.Image, detections: Detections, shown: Iterable[int]) -> None:
    """Colours what lies inside of the masks, those that are `shown` last over the others."""
    for place in shown:
        code = detections.masks[place] if detections.masks else None
        if code:
            inside = mask_pixels(code, (canvas.height, canvas.width))
            cover = Image.fromarray(inside.astype("uint8") * round(255 * MASK_SHARE))
            canvas.paste(colour_of(detections.names[place][0]), mask=cover)


def _label(
    pen: ImageDraw.ImageDraw,
    corner_xy: tuple[float, ...],
    text: str,
    colour: Colour,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """On a plate above the box, or within it where there is no room above."""
    x, y = corner_xy
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    height = bottom - top + 4
    x = max(0.0, min(x, pen.im.size[0] - (right - left) - 4))
    y = y - height if y >= height else y
    pen.rectangle((x, y, x + right - left + 4, y + height), fill=colour)
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    pen.text((x + 2 - left, y + 2 - top), text, fill="black" if bright else "white", font=font)
