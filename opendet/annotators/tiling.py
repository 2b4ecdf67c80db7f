"""Large images are shown whole and in tiles, so that small things are large enough to be found.

W, H width and height of an image in pixels; a tile is x0, y0, x1, y1 in its image's pixels.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from opendet.annotators.detection import Finder, Found

if TYPE_CHECKING:
    from PIL.Image import Image

Tile = tuple[int, int, int, int]

BORDER = 0.01
"""Share of a tile's side. A box that comes as near as that to a border inside the image is taken
to be cut there: a detector does not draw it to the pixel."""


def tiles(width: int, height: int, side: int, overlap: float) -> list[Tile]:
    """Squares that cover an image, row by row; none where the image fits into one of them.

    `overlap` in [0, 1) is the least share of a side that neighbours have in common; they are
    spread evenly, and the outer ones are flush with the image's borders. Where only one side of
    the image is longer than a tile's, tiles are as low, or as narrow, as the image.
    """
    assert side > 0, f"a tile's side is {side} pixels"
    assert 0 <= overlap < 1, f"tiles cannot have {overlap} of a side in common"
    if width <= side and height <= side:
        return []
    return [
        (x0, y0, x1, y1)
        for y0, y1 in _spans(height, side, overlap)
        for x0, x1 in _spans(width, side, overlap)
    ]


def _spans(length: int, side: int, overlap: float) -> list[tuple[int, int]]:
    if length <= side:
        return [(0, length)]
    room = length - side  # pixels that the first span has to travel to be the last
    step = max(1, int(side * (1 - overlap)))
    steps = -(-room // step)
    return [(room * n // steps, room * n // steps + side) for n in range(steps + 1)]


def find_tiled(
    finder: Finder,
    images: "Sequence[Image]",
    names: Sequence[tuple[str, ...]],
    *,
    tile: int | None,
    overlap: float,
) -> list[list[Found]]:
    """What is in each RGB image, the surest first, in its own pixels: whole, and tile by tile.

    What touches a tile's border inside the image is left out: it is a part of something that the
    next tile or the whole image shows. A thing seen twice is there twice: nothing is suppressed.
    `tile` is the side of a tile in pixels; None: each image is shown whole and no more.
    """
    cut = [(n, one) for n, image in enumerate(images) for one in _tiles_of(image, tile, overlap)]
    shown = [*images, *(images[n].crop(one) for n, one in cut)]
    answers = finder.find(shown, [*names, *(names[n] for n, _ in cut)])
    found = [list(answer) for answer in answers[: len(images)]]
    for (n, one), answer in zip(cut, answers[len(images) :], strict=True):
        size = images[n].size
        found[n] += [shifted(thing, one, size) for thing in answer if not is_cut(thing, one, size)]
    return [sorted(things, key=lambda thing: -thing.score) for things in found]


def _tiles_of(image: "Image", side: int | None, overlap: float) -> list[Tile]:
    return [] if side is None else tiles(*image.size, side, overlap)


def is_cut(thing: Found, tile: Tile, size_wh: tuple[int, int]) -> bool:
    """Does a box, in the tile's pixels, touch one of its borders that is none of the image's?"""
    width, height = tile[2] - tile[0], tile[3] - tile[1]
    near = BORDER * max(width, height)
    x0, y0, x1, y1 = thing.box_xyxy
    return (
        (x0 < near and tile[0] > 0)
        or (y0 < near and tile[1] > 0)
        or (x1 > width - near and tile[2] < size_wh[0])
        or (y1 > height - near and tile[3] < size_wh[1])
    )


def shifted(thing: Found, tile: Tile, size_wh: tuple[int, int]) -> Found:
    """The same thing, from the tile's pixels to those of its W x H image, with its mask."""
    left, top = tile[:2]
    x0, y0, x1, y1 = thing.box_xyxy
    box_xyxy = (x0 + left, y0 + top, x1 + left, y1 + top)
    return replace(thing, box_xyxy=box_xyxy, mask=_placed(thing.mask, tile, size_wh))


def _placed(mask: str, tile: Tile, size_wh: tuple[int, int]) -> str:
    """A tile's run-length code as that of the whole image; outside the tile is outside the mask."""
    if not mask:
        return ""
    from faster_coco_eval.core.mask import decode, encode

    x0, y0, x1, y1 = tile
    whole = np.zeros((size_wh[1], size_wh[0]), np.uint8, order="F")  # (H, W)
    whole[y0:y1, x0:x1] = decode({"size": [y1 - y0, x1 - x0], "counts": mask})
    return str(encode(whole)["counts"].decode("ascii"))
