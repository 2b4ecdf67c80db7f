"""A small world for VL-SAM's parts: drawn scenes, attention with an object planted in it, and a
segmenter that fills the region under a point.

The attention is that of a causal language model of N tokens: first words, then the image's grid row
by row, then a question and an answer, whose last tokens are the object's name. Some heads are
sharp: there the name attends to the object, less so to another one, and the image's cells to the
cells of their own thing. The others are diffuse, and all of them lean on the first token. Noise is
added to every logit. Where attention collapses, the diffuse heads lean on the image's first cells
too, whatever is in them.

L layers, H heads; h x w cells of the grid; H_i, W_i height and width of the image.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from opendet.annotators.segment import Drawn, PointPair, mask_codes
from opendet.vl_sam.heatmaps import NamedMap

Flags = NDArray[np.bool_]

WORDS, QUESTION, NAME = 6, 10, 2
"""Tokens before the image, between it and the name, and of the name."""
SIDE = 12
"""Cells of a side of the grid."""
LAYERS, HEADS, SHARP = 8, 6, 2
"""SHARP heads of every layer's are sharp."""
SIGNAL, OTHER, SINK = 5.0, 2.0, 6.0
"""Logits: of the name for the object, of the name for another object, of all for the first token.
"""
EARLY = SIDE // 2
"""Cells that attention collapses to."""
THINGS = 4
GRAIN = 5
"""Noise of a pixel's colour, of 255."""
TOLERANCES = (12, 40, 160)
"""Differences of colour within which the segmenter takes neighbours for one region: a part of a
thing, a thing, and things with what is around them."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A drawn image and the pixels of its things; the first one is named."""

    image: Image.Image
    things: list[Flags]
    """(H_i, W_i) each."""

    @property
    def target(self) -> Flags:
        return self.things[0]


def drawn_scene(rng: np.random.Generator) -> Scene:
    """Things apart from each other, in colours of their own, a darker part in each of them."""
    width, height = (int(side) for side in rng.integers(110, 190, 2))
    hues = rng.permutation(THINGS + 1) * 255 // (THINGS + 1)
    canvas = Image.new("HSV", (width, height), (int(hues[-1]), 90, 90))
    taken, things = np.zeros((height, width), np.bool_), list[Flags]()
    while len(things) < THINGS:
        w, h = (int(side * rng.uniform(0.18, 0.42)) for side in (width, height))
        x, y = int(rng.integers(3, width - w - 3)), int(rng.integers(3, height - h - 3))
        if taken[max(0, y - 4) : y + h + 4, max(0, x - 4) : x + w + 4].any():
            continue
        shape = _filled((width, height), (x, y, x + w, y + h), round_=bool(rng.random() < 0.5))
        canvas.paste((int(hues[len(things)]), 220, 230), mask=shape)
        part = (x + w // 3, y + h // 3, x + w // 2, y + h // 2)
        canvas.paste((int(hues[len(things)]), 220, 200), mask=_filled((width, height), part))
        things.append(np.asarray(shape) > 0)
        taken |= things[-1]
    pixels = np.asarray(canvas.convert("RGB"), np.float64)
    grainy = (pixels + rng.uniform(-GRAIN, GRAIN, pixels.shape)).clip(0, 255)
    return Scene(Image.fromarray(grainy.astype(np.uint8)), things)


def _filled(
    size_wh: tuple[int, int], box: tuple[int, int, int, int], *, round_: bool = False
) -> Image.Image:
    shape = Image.new("L", size_wh)
    pen = ImageDraw.Draw(shape)
    (pen.ellipse if round_ else pen.rectangle)(box, fill=255)
    return shape


def planted_attention(
    scene: Scene, rng: np.random.Generator, noise: float, collapse: float = 0.0
) -> Iterator[Tensor]:
    """(H, N, N) of one layer after the other, causal, each row's sum 1. `collapse` is the logit of
    the image's first cells in diffuse heads."""
    cells = [_cells(thing) for thing in scene.things]  # (h * w) in [0, 1], of each thing
    count = WORDS + SIDE**2 + QUESTION + NAME
    image = slice(WORDS, WORDS + SIDE**2)
    wanted = np.zeros((count, count))
    for thing in cells:
        wanted[image, image] += SIGNAL * np.outer(thing, thing)
    wanted[-NAME:, image] = SIGNAL * cells[0] + OTHER * cells[1]
    hidden = np.triu(np.ones((count, count), np.bool_), 1)
    for _ in range(LAYERS):
        logits = noise * rng.standard_normal((HEADS, count, count))
        logits[:SHARP] += wanted
        logits[SHARP:, :, WORDS : WORDS + EARLY] += collapse
        logits[:, :, 0] += SINK
        logits[:, hidden] = -np.inf
        yield torch.from_numpy(logits).softmax(-1).float()


def _cells(thing: Flags) -> NDArray[np.float64]:
    """(H_i, W_i) -> (h * w): the share of each cell that the thing covers."""
    shrunk = Image.fromarray(thing.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(shrunk, np.float64).ravel()


def name_map(flow: Tensor, image: Image.Image) -> NamedMap:
    """What a flow (N, N) says of the name's tokens."""
    row = flow[-NAME:].mean(0)[WORDS : WORDS + SIDE**2]
    grid = row.reshape(SIDE, SIDE).numpy().astype(np.float32)
    return NamedMap("thing", grid, (0.0, 0.0, float(image.width), float(image.height)))


def region_filler(
    image: Image.Image, *, heeds_outside: bool = True
) -> Callable[..., list[Drawn | None]]:
    """A segmenter of this world, as `refinement.Draws`.

    It knows three regions around the inner point, as SAM does: a part, a thing, and more. The outer
    point, if it is heeded, says which: the largest that it lies not in. Else it is the middle one.
    A mask that is handed back comes with its holes filled.
    """
    pixels = np.asarray(image, np.int32)

    def draw(pairs: Sequence[PointPair], again: Sequence[Any] = ()) -> list[Drawn | None]:
        if again:
            return [_answer(_whole(mask.numpy() > 0)) for mask in again]
        return [_answer(_region(pixels, pair, heeds_outside=heeds_outside)) for pair in pairs]

    return draw


def _region(pixels: NDArray[np.int32], pair: PointPair, *, heeds_outside: bool) -> Flags:
    from scipy import ndimage

    (x, y), (far_x, far_y) = (
        (round(point[0]), round(point[1])) for point in (pair.inside_xy, pair.outside_xy)
    )
    apart = np.abs(pixels - pixels[y, x]).max(-1)  # (H_i, W_i)
    regions = []
    for tolerance in TOLERANCES:
        pieces, _ = ndimage.label(apart <= tolerance)
        regions.append(np.asarray(pieces == pieces[y, x], np.bool_))
    if not heeds_outside:
        return regions[1]
    fitting = [region for region in regions if not region[far_y, far_x]]
    return fitting[-1] if fitting else regions[0]


def _whole(mask: Flags) -> Flags:
    from scipy import ndimage

    return np.asarray(ndimage.binary_fill_holes(ndimage.binary_closing(mask)), np.bool_)


def _answer(region: Flags) -> Drawn | None:
    [code] = mask_codes(torch.from_numpy(region)[None])
    score = 1 - float(region.mean())  # the smaller, the surer: it knows no better
    return Drawn(code, score, torch.from_numpy(region).float()) if code else None
