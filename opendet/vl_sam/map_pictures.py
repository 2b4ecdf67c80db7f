"""Maps of attention laid over their pictures, with the points and the masks that they led to."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from opendet.vl_sam.heatmaps import Heat, heat_of, map_size
from opendet.vl_sam.refinement import mask_on_map

if TYPE_CHECKING:
    from opendet.vl_sam.method import Sight

COLD_TO_HOT = np.array([(0, 0, 96), (0, 96, 255), (0, 200, 120), (255, 220, 0), (230, 0, 0)])
"""RGB at heat 0, 1/4, 1/2, 3/4 and 1."""
FAINT, STRONG = 0.2, 0.7
"""Share of the map's colours where it is coldest and where it is hottest; the rest is the picture.
"""
LONGEST_NAME = 40


def save_maps(image: Image.Image, sights: Sequence["Sight"], folder: Path, stem: str) -> list[Path]:
    """`<stem>-<number>-<name>.png` for each name in each view, in the order of the views."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, sight in enumerate(sights):
        # A model's words are no path.
        words = re.sub(r"[^a-z0-9]+", "-", sight.map.name.lower())[:LONGEST_NAME].strip("-")
        path = folder / f"{stem}-{number:03d}-{words or 'unnamed'}.png"
        picture_of(image.crop(sight.view), sight).save(path)
        paths.append(path)
    return paths


def picture_of(picture: Image.Image, sight: "Sight") -> Image.Image:
    """The view with the map in colours, each mask's outline in white, each pair's inner point in
    green and its outer one in red; pixels that the model was not shown stay as they are."""
    size = map_size(picture.size)
    pixels = np.asarray(picture.convert("RGB").resize(size), np.float32)
    heat = heat_of(sight.map, picture.size)
    if heat is not None:
        pixels = _coloured(pixels, heat)
    for hit in sight.hits:
        pixels[_outline(mask_on_map(hit.code, picture.size))] = 255
    drawn = Image.fromarray(pixels.astype(np.uint8))
    pen = ImageDraw.Draw(drawn)
    radius = max(2, max(size) // 100)
    for hit in sight.hits:
        for point, colour in ((hit.pair.outside_xy, "red"), (hit.pair.inside_xy, "lime")):
            x, y = (at * to / of for at, to, of in zip(point, size, picture.size, strict=True))
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), colour, "black")
    return drawn


def _coloured(pixels: NDArray[np.float32], heat: Heat) -> NDArray[np.float32]:
    """(H, W, 3) with the map (H, W) over it."""
    steps = np.linspace(0, 1, len(COLD_TO_HOT))
    colours = np.stack([np.interp(heat, steps, one) for one in COLD_TO_HOT.T], -1)
    share = (FAINT + (STRONG - FAINT) * heat)[..., None]
    mixed = (1 - share) * pixels + share * colours
    return np.where(np.isfinite(share), mixed, pixels).astype(np.float32)


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels inside that have a neighbour outside; the picture's border is outside."""
    framed = np.pad(mask, 1)
    inner = framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:]
    return np.asarray(mask & ~inner, np.bool_)
