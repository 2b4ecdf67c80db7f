"""From the maps of one image to masks: a pair of points, a mask, and then better and more of them.

A mask is refined in two ways. It is handed back with its pair, to be drawn anew; and what lies
outside of it on the map is set to 0, so that a new pair is taken from inside of it alone. With what
lies inside of it set to 0, the map shows further things of the same name, for as long as anything
on it is as hot as a thing had to be at first.

H, W height and width of a map.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from PIL import Image

from opendet.annotators.segment import Drawn, PointPair
from opendet.vl_sam.heatmaps import Flags, Heat, map_size, within, without
from opendet.vl_sam.points import Threshold, cutoff_of, in_pixels, point_pair


class Draws(Protocol):
    """Whatever draws masks into one image."""

    def __call__(self, pairs: Sequence[PointPair], again: Sequence[Any] = ()) -> list[Drawn | None]:
        """A mask for each pair in the image's pixels; `again` are prompts of earlier masks."""
        ...


@dataclass(frozen=True, slots=True)
class RefineRules:
    """How far a mask is refined."""

    threshold: Threshold = "mean_std"
    redraws: int = 1
    """How often a mask is handed back."""
    instances: int = 3
    """Most things that are looked for on one map."""
    resample: bool = True
    """Whether a second pair is taken from inside a mask."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A mask, and the pair of points that led to it."""

    pair: PointPair
    """Pixels of the image."""
    code: str
    """COCO's compressed run-length code in the image's size."""
    score: float
    """The IoU with the true mask that the segmenter predicts, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class _Left:
    """A map with what is still to be found on it."""

    number: int
    heat: Heat
    cutoff: float
    cell: int
    """Pixels of the map that its grid cannot tell apart."""


@dataclass(frozen=True, slots=True)
class _Drawn:
    left: _Left
    pair: PointPair
    drawn: Drawn


def found_on_maps(
    heats: Sequence[Heat],
    cells: Sequence[int],
    size_wh: tuple[int, int],
    draw: Draws,
    rules: RefineRules = RefineRules(),
) -> list[list[Hit]]:
    """What is found on each map of an image of that size, in order of its finding; repeats abound.

    `cells`: pixels of a map that are one cell of its grid. All maps' pairs are drawn together.
    """
    hits: list[list[Hit]] = [[] for _ in heats]
    left = [
        _Left(number, heat, cutoff_of(heat, rules.threshold), cell)
        for number, (heat, cell) in enumerate(zip(heats, cells, strict=True))
    ]
    for _ in range(rules.instances):
        drawn = _drawn(left, size_wh, draw)
        for _ in range(rules.redraws):
            drawn = _redrawn(drawn, draw)
        seen = [(one.left, mask_on_map(one.drawn.code, size_wh)) for one in drawn]
        if rules.resample:
            inside = [replace(one, heat=within(one.heat, mask)) for one, mask in seen]
            drawn += _drawn(inside, size_wh, draw)
        for one in drawn:
            hits[one.left.number].append(Hit(one.pair, one.drawn.code, one.drawn.score))
        left = [replace(one, heat=without(one.heat, widened(mask, one.cell))) for one, mask in seen]
    return hits


def _drawn(maps: Sequence[_Left], size_wh: tuple[int, int], draw: Draws) -> list[_Drawn]:
    """Of each map on which a pair is found, the pair's mask, unless that is empty."""
    hot = [(one, pair) for one in maps if (pair := point_pair(one.heat, one.cutoff))]
    pairs = [in_pixels(pair, map_size(size_wh), size_wh) for _, pair in hot]
    answers = draw(pairs) if pairs else []
    return [
        _Drawn(one, pair, drawn)
        for (one, _), pair, drawn in zip(hot, pairs, answers, strict=True)
        if drawn is not None
    ]


def _redrawn(earlier: Sequence[_Drawn], draw: Draws) -> list[_Drawn]:
    """Each with the mask that its own led to; with its own where that is empty."""
    if not earlier:
        return []
    answers = draw([one.pair for one in earlier], [one.drawn.prompt for one in earlier])
    return [replace(one, drawn=new or one.drawn) for one, new in zip(earlier, answers, strict=True)]


def mask_on_map(code: str, size_wh: tuple[int, int]) -> Flags:
    """COCO's compressed code of an image of that size -> (H, W) of its map."""
    from faster_coco_eval.core.mask import decode

    width, height = size_wh
    pixels = decode({"size": [height, width], "counts": code})
    if (to := map_size(size_wh)) != size_wh:
        pixels = np.asarray(Image.fromarray(pixels).resize(to, Image.Resampling.NEAREST))
    return np.asarray(pixels, np.bool_)


def widened(mask: Flags, cell: int) -> Flags:
    """The mask and all that lies within a cell of it: attention to a thing spills over its edges,
    and what spills is no other thing."""
    from scipy import ndimage

    if cell < 1:
        return mask
    return np.asarray(ndimage.maximum_filter(mask, size=2 * cell + 1), np.bool_)
