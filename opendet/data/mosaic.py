"""Several images in one: a square grid of tiles (Bochkovskiy et al. 2020; OWL-ST, up to 6 x 6).

The tiles of a mosaic are of one kind (`opendet.data.kinds`): a loss could not tell where in the
picture boxes are to be trusted. k is the grid's side, M objects of one tile.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from opendet.data import transforms
from opendet.data.batch import RegionRef
from opendet.data.config import LoaderConfig
from opendet.data.kinds import KINDS, AnnotationKind
from opendet.data.plan import EpochPlan, mixture_kind
from opendet.data.transforms import Example
from opendet.record import Record


class Companions:
    """Who may share a mosaic with whom, each as often as an epoch draws it."""

    def __init__(self, plan: EpochPlan, kinds: Sequence[AnnotationKind]) -> None:
        """`kinds`: of each sample of the plan, in its order."""
        self._samples = plan.samples  # (N,) ascending
        self._kinds = np.array([KINDS.index(kind) for kind in kinds], np.int8)  # (N,)
        self._of_kind = [np.flatnonzero(self._kinds == kind) for kind in range(len(KINDS))]
        self._reach = [np.cumsum(plan.expected[places]) for places in self._of_kind]

    @classmethod
    def of(cls, plan: EpochPlan, records: Iterable[Record], config: LoaderConfig) -> "Companions":
        """Of the records of the plan's samples, in its order."""
        return cls(plan, [mixture_kind(record, config.mixture) for record in records])

    def side(self, sample: int, rng: np.random.Generator, config: LoaderConfig) -> int:
        """The side of the grid that this sample comes in: 1 for a caption, which is of one image
        alone."""
        sides, shares = zip(*sorted(config.mosaic.items()), strict=True)
        drawn = int(rng.choice(sides, p=np.array(shares) / sum(shares)))
        return 1 if KINDS[self._kind(sample)] == "image" else drawn

    def draw(self, sample: int, count: int, rng: np.random.Generator) -> list[int]:
        """So many samples of the same kind, by chance; where there are few, one may come twice."""
        kind = self._kind(sample)
        reach, places = self._reach[kind], self._of_kind[kind]
        hit = np.searchsorted(reach, rng.random(count) * reach[-1], side="right")
        return [int(self._samples[place]) for place in places[hit.clip(max=len(places) - 1)]]

    def _kind(self, sample: int) -> int:
        return int(self._kinds[np.searchsorted(self._samples, sample)])


def shrunk(config: LoaderConfig, by: int) -> LoaderConfig:
    """The augmentation of a tile: every length is that share of an image's own."""
    least, most = config.crop_sides
    return config.model_copy(
        update={
            "shortest_edges": tuple(max(1, edge // by) for edge in config.shortest_edges),
            "longest_edge": max(1, config.longest_edge // by),
            "crop_edges": tuple(max(1, edge // by) for edge in config.crop_edges),
            "crop_sides": (max(1, least // by), max(1, most // by)),
        }
    )


def mosaic(tiles: Sequence[Example], *, first: Example, least_side: float) -> Example:
    """k x k tiles, row by row, in cells of their median height and width; it gets the key of
    `first`.

    A tile is scaled to fit its cell and lies at its top left; what is left over is black, as where
    a batch is padded. A box with a side below `least_side` pixels is left out with its names.
    Absent names are wrong for the whole but where another tile shows them or may; the caption of
    one tile says nothing of the others and goes.
    """
    side = round(len(tiles) ** 0.5)
    assert side * side == len(tiles), len(tiles)
    height, width = (int(np.median([tile.size_hw[axis] for tile in tiles])) for axis in (0, 1))
    canvas = torch.zeros(3, side * height, side * width, dtype=first.image.dtype)
    boxes: list[Tensor] = []
    names: list[tuple[str, ...]] = []
    regions: list[RegionRef] = []
    descriptions: list[str] = []
    unsure: list[str] = []
    for number, tile in enumerate(tiles):
        fitted = transforms.fit(tile, height=height, width=width)
        top, left = number // side * height, number % side * width
        own_h, own_w = fitted.size_hw
        canvas[:, top : top + own_h, left : left + own_w] = fitted.image
        seen = _seen(fitted, least_side)
        boxes.append(seen.boxes_xyxy + torch.tensor([left, top, left, top]))
        names += seen.names
        regions += seen.regions
        descriptions += seen.descriptions
        unsure += seen.partial
    partial = tuple(dict.fromkeys(unsure))
    said = {name for own in names for name in own}.union(partial)
    absent = dict.fromkeys(name for tile in tiles for name in tile.absent)
    return replace(
        first,
        image=canvas,
        boxes_xyxy=torch.cat(boxes),
        names=tuple(names),
        regions=tuple(regions),
        descriptions=tuple(descriptions),
        original_hw=(canvas.shape[1], canvas.shape[2]),
        caption=None,
        absent=tuple(name for name in absent if name not in said),
        partial=partial,
    )


def _seen(tile: Example, least_side: float) -> Example:
    """Without the boxes that are too small to be seen."""
    x0, y0, x1, y1 = tile.boxes_xyxy.unbind(1)
    large = torch.minimum(x1 - x0, y1 - y0) >= least_side
    return transforms.with_boxes(tile, large, showing=torch.ones_like(large))
