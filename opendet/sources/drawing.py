"""How a scene is drawn: backgrounds of muted tones, and objects with texture, light and shadow.

H x W the canvas; a stencil covers a window of it. Masks are in [0, 1], canvases RGB in [0, 255],
both float32. Edges are antialiased by drawing masks four times larger.
"""

import colorsys
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from opendet.record import BoxXYXY
from opendet.sources.shapes import SHAPES, Contours

Pixels = NDArray[np.float32]
Texture = Literal["plain", "striped", "dotted"]

FINE = 4
"""Masks are drawn this many times larger than they are used."""
SHADOW_REACH = 8
"""Pixels that a window needs around its object for the shadow."""

PAINTS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "red": ((208, 36, 40), (255, 214, 205)),
    "orange": ((242, 128, 18), (122, 50, 0)),
    "yellow": ((250, 214, 30), (140, 100, 0)),
    "green": ((44, 150, 62), (205, 245, 200)),
    "blue": ((36, 88, 214), (200, 222, 255)),
    "purple": ((124, 48, 178), (232, 205, 250)),
    "pink": ((250, 138, 190), (150, 24, 92)),
    "black": ((42, 42, 50), (226, 226, 230)),
}
"""Colour -> its paint and the paint of its stripes or dots, which must stand out."""


@dataclass(frozen=True, slots=True)
class Look:
    """What an object is, where it lies and how it is turned."""

    colour: str
    texture: Texture
    shape: str
    centre_xy: tuple[float, float]
    side: float
    """Pixels of the longer side of its box."""
    stretch: float
    """Width over height, relative to the shape's own."""
    angle: float
    """Radians."""


@dataclass(frozen=True, slots=True)
class Stencil:
    """An object's masks in a window of the canvas, all of the window's size."""

    corner_xy: tuple[int, int]
    """Of the window on the canvas; may lie outside, for the shadow's sake."""
    box_xyxy: BoxXYXY
    """Of the whole object, tight to a quarter of a pixel."""
    cover: Pixels
    """Where the object is."""
    accent: Pixels
    """Where its stripes or dots are."""
    outline: Pixels

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the window, which may reach over the edge of the canvas."""
        (x, y), (height, width) = self.corner_xy, self.cover.shape
        return slice(y, y + height), slice(x, x + width)

    def on_canvas(self, size: int) -> Pixels:
        """The cover as a mask (size, size) of the whole canvas."""
        mask = np.zeros((size + 2 * SHADOW_REACH,) * 2, np.float32)
        rows, columns = self.window
        mask[_shifted(rows), _shifted(columns)] = self.cover
        return mask[SHADOW_REACH:-SHADOW_REACH, SHADOW_REACH:-SHADOW_REACH]


def _shifted(span: slice) -> slice:
    return slice(span.start + SHADOW_REACH, span.stop + SHADOW_REACH)


def cut_stencil(look: Look) -> Stencil:
    """The masks of an object."""
    stroke = min(max(0.05 * look.side, 1.0), 2.2)  # pixels
    contours = _placed(SHAPES[look.shape](), look, stroke)
    low, high = contours[0].min(0), contours[0].max(0)
    corner = np.floor(low - stroke).astype(int) - SHADOW_REACH
    extent = np.ceil(high + stroke).astype(int) + SHADOW_REACH - corner
    canvas = (int(extent[0]) * FINE, int(extent[1]) * FINE)
    fine = [[(float(x), float(y)) for x, y in (one - corner) * FINE] for one in contours]
    body = Image.new("L", canvas)
    lines = Image.new("L", canvas)
    for index, points in enumerate(fine):
        ImageDraw.Draw(body).polygon(points, fill=0 if index else 255)
        ImageDraw.Draw(lines).line(
            [*points, *points[:2]], fill=255, width=round(stroke * FINE), joint="curve"
        )
    body.paste(255, mask=lines)
    left, top, right, bottom = body.getbbox() or (0, 0, 0, 0)
    x, y = int(corner[0]), int(corner[1])
    return Stencil(
        corner_xy=(x, y),
        box_xyxy=(x + left / FINE, y + top / FINE, x + right / FINE, y + bottom / FINE),
        cover=_reduced(body),
        accent=_reduced(_texture(look, canvas)),
        outline=_reduced(lines),
    )


def _placed(contours: Contours, look: Look, stroke: float) -> Contours:
    """A shape's contours turned, stretched and scaled, in pixels of the canvas."""
    cos, sin = np.cos(look.angle), np.sin(look.angle)
    turned = [
        (one * (look.stretch**0.5, look.stretch**-0.5)) @ np.array(((cos, sin), (-sin, cos)))
        for one in contours
    ]
    low, high = turned[0].min(0), turned[0].max(0)
    scale = (look.side - stroke) / (high - low).max()
    return tuple((one - (low + high) / 2) * scale + look.centre_xy for one in turned)


def _texture(look: Look, canvas: tuple[int, int]) -> Image.Image:
    """Stripes or dots over a whole window, drawn fine; as wide as the object lets one see."""
    mask = Image.new("L", canvas)
    draw = ImageDraw.Draw(mask)
    pitch = max(look.side / 5.2, 4.0) * FINE
    reach = max(canvas)
    if look.texture == "striped":
        for start in np.arange(-reach, reach, pitch):
            # slanted by 45 degrees, so that no stripe runs along a square's edge
            draw.line(
                [(start, reach), (start + reach, 0)], fill=255, width=round(0.46 * pitch / 1.4)
            )
    elif look.texture == "dotted":
        radius = 0.27 * pitch
        for row, y in enumerate(np.arange(pitch / 4, canvas[1], pitch * 0.87)):
            for x in np.arange(pitch / 4 + (row % 2) * pitch / 2, canvas[0], pitch):
                draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)
    return mask


def _reduced(mask: Image.Image) -> Pixels:
    return np.asarray(mask.reduce(FINE), np.float32) / np.float32(255)


def paint_object(canvas: Pixels, stencil: Stencil, look: Look) -> None:
    """Draw an object with its shadow onto a canvas (H, W, 3), in place."""
    cover, accent = stencil.cover[..., None], stencil.accent[..., None]
    paint, second = (np.array(tone, np.float32) for tone in PAINTS[look.colour])
    light = _light(stencil.cover.shape, look.side)[..., None]
    surface = (paint + (second - paint) * accent) * light
    surface += (0.42 * paint - surface) * stencil.outline[..., None]
    (rows, columns), clip = _clipped(stencil, canvas.shape[0])
    ground = canvas[rows, columns] * (1 - 0.42 * _shadow(stencil.cover, look.side)[clip][..., None])
    canvas[rows, columns] = ground + (np.minimum(surface, 255)[clip] - ground) * cover[clip]


def _light(shape: tuple[int, ...], side: float) -> Pixels:
    """Light from the upper left: above 1 there, below 1 at the lower right of the object."""
    height, width = shape
    y = (np.arange(height, dtype=np.float32) - height / 2)[:, None] / side
    x = (np.arange(width, dtype=np.float32) - width / 2)[None] / side
    return np.clip(1.03 - 0.24 * (x + y), 0.78, 1.24).astype(np.float32)


def _shadow(cover: Pixels, side: float) -> Pixels:
    """The cover, blurred and moved to the lower right."""
    drop = int(min(max(round(0.07 * side), 1), 4))
    moved = np.zeros_like(cover)
    moved[drop:, drop:] = cover[:-drop, :-drop]
    soft = Image.fromarray((moved * 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(drop * 0.8))
    return np.asarray(soft, np.float32) / np.float32(255)


def _clipped(stencil: Stencil, size: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the window that lies on the canvas: in the canvas, and in the window."""
    spans = stencil.window
    on = tuple(slice(max(span.start, 0), min(span.stop, size)) for span in spans)
    inside = tuple(
        slice(kept.start - span.start, kept.stop - span.start)
        for kept, span in zip(on, spans, strict=True)
    )
    return (on[0], on[1]), (inside[0], inside[1])


def draw_background(rng: Generator, *, size: int) -> Pixels:
    """(size, size, 3): a gradient of two muted tones, with a pattern and some grain."""
    hue = rng.uniform()
    tones = [_muted(rng, hue), _muted(rng, hue + rng.uniform(-0.12, 0.12))]
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    along = axis[None] * np.float32(np.cos(angle)) + axis[:, None] * np.float32(np.sin(angle))
    across = axis[:, None] * np.float32(np.cos(angle)) - axis[None] * np.float32(np.sin(angle))
    blend = np.clip(along + 0.5, 0, 1)[..., None]
    canvas = tones[0] + (tones[1] - tones[0]) * blend
    canvas += (_pattern(rng, along, across) + _clouds(rng, size))[..., None]
    canvas += rng.normal(0, 2.0, (size, size, 1)).astype(np.float32)
    return np.clip(canvas, 0, 255)


def _muted(rng: Generator, hue: float) -> Pixels:
    tone = colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.06, 0.26), rng.uniform(0.62, 0.88))
    return np.array(tone, np.float32) * 255


def _pattern(rng: Generator, along: Pixels, across: Pixels) -> Pixels:
    """Nothing, broad stripes or a weave, too faint to be taken for an object."""
    kind, waves, strength = rng.integers(4), rng.uniform(4, 14), rng.uniform(3, 7)
    turn = np.float32(2 * np.pi * waves)
    if kind == 0:
        return np.zeros_like(along)
    waves_along = np.sin(turn * along)
    if kind == 1:
        pattern = waves_along
    elif kind == 2:
        pattern = 0.7 * np.sign(waves_along)
    else:
        pattern = waves_along * np.sin(turn * across)
    return np.asarray(strength * pattern, np.float32)


def _clouds(rng: Generator, size: int) -> Pixels:
    """Slow changes of brightness."""
    coarse = Image.fromarray(rng.normal(0, 7, (6, 6)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), np.float32)
