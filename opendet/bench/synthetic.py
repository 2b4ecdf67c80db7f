"""SynthOED: small scenes whose truth is known, and how often training shows each name.

A name is `<colour> <shape>`. A third of the 64 names is frequent, a third rare, and a quarter is
never trained, though each of their words is (../shared/spec/evidence.md, G.2). Scenes are drawn
once and kept as bytes, so that a training step waits for no loader.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from opendet.boxes import to_model
from opendet.data.batch import Batch, Target
from opendet.sources.drawing import (
    PAINTS,
    Look,
    Stencil,
    cut_stencil,
    draw_background,
    paint_object,
)

# N scenes, M objects of one, S the side of the canvas

NameTier = Literal["frequent", "rare", "unseen"]

COLOURS = tuple(PAINTS)
SHAPES = ("circle", "square", "triangle", "diamond", "star", "cross", "ring", "heart")
TIER_OF_DIAGONAL: tuple[NameTier, ...] = (*("frequent",) * 3, *("rare",) * 3, *("unseen",) * 2)
"""By (colour + shape) modulo 8: every word occurs equally often in each tier."""
TIERS: dict[str, NameTier] = {
    f"{colour} {shape}": TIER_OF_DIAGONAL[(c + s) % 8]
    for (c, colour), (s, shape) in product(enumerate(COLOURS), enumerate(SHAPES))
}
"""Name -> tier, all 64 of them."""
NAMES = tuple(TIERS)
SHARE_OF_TIER: dict[NameTier, float] = {"frequent": 1.0, "rare": 0.06, "unseen": 0.0}
"""How often training shows a name, relative to a frequent one."""

SIDE = 96  # Pixels.
SINGLE_SIDE = 48
"""Of a picture of one object."""
LEAST_OBJECTS, MOST_OBJECTS = 2, 8
LEAST_SIDE, MOST_SIDE = 13.0, 38.0
"""Pixels of an object's longer side."""
COPIES = {"train": 0.6, "test": 0.3}
"""How many of the objects have the name of the image's first object."""
MOST_HIDDEN = 0.25
"""Of two objects' smaller one, how much of its square the other's may cover."""
TRIES = 40
"""Places that are tried for an object before the scene does without it."""

Split = Literal["train", "test"]


@dataclass(frozen=True)
class SceneSet:
    """Scenes and the truth about them."""

    split: Split
    images: NDArray[np.uint8]
    """(N, 3, S, S) RGB."""
    boxes_xyxy: tuple[NDArray[np.float32], ...]
    """N arrays (M, 4), pixels."""
    names: tuple[tuple[str, ...], ...]
    """N tuples of M names."""

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, rows: Sequence[int]) -> Batch:
        """These scenes as the trainer takes them."""
        images = torch.from_numpy(self.images[np.asarray(rows)]).float() / 255
        sizes = torch.full((len(rows), 2), self.images.shape[-1])
        return Batch(
            keys=tuple(f"{self.split}-{row}" for row in rows),
            images=images,
            sizes_hw=sizes,
            original_sizes_hw=sizes,
            targets=tuple(self._target(row) for row in rows),
        )

    def _target(self, row: int) -> Target:
        side = self.images.shape[-1]
        boxes = to_model(torch.from_numpy(self.boxes_xyxy[row]), width=side, height=side)
        return Target(boxes, tuple((name,) for name in self.names[row]))


class SceneBatches:
    """Batches without end: each scene once in a new order, then each once again."""

    def __init__(self, scenes: SceneSet, *, batch_size: int, seed: int) -> None:
        self._scenes = scenes
        self._batch_size = batch_size
        self._seed = seed
        self._position = 0  # batches handed out

    def __iter__(self) -> Iterator[Batch]:
        per_epoch = len(self._scenes) // self._batch_size
        while True:
            epoch, place = divmod(self._position, per_epoch)
            order = np.random.default_rng([self._seed, epoch]).permutation(len(self._scenes))
            start = place * self._batch_size
            self._position += 1
            yield self._scenes.batch(order[start : start + self._batch_size].tolist())

    def state_dict(self) -> dict[str, Any]:
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._position = state["position"]


def draw_scenes(count: int, *, seed: int, split: Split, side: int = SIDE) -> SceneSet:
    """The scenes of a seed and a split.

    Training draws names by their tiers' shares. The test set shows all 64 equally often.
    """
    rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
    names = _drawn_by_tier(rng) if split == "train" else _dealt(rng, NAMES)
    placed = [_place(rng, names, copies=COPIES[split], side=side) for _ in range(count)]
    return _paint(rng, placed, split=split, side=side)


def draw_single(count: int, *, seed: int, side: int = SINGLE_SIDE) -> SceneSet:
    """Single objects, of the trained names alone and all of them equally often."""
    rng = np.random.default_rng([seed, 0])
    names = _dealt(rng, [name for name, tier in TIERS.items() if tier != "unseen"])
    placed = []
    for _ in range(count):
        look = _look(rng, next(names), float(rng.uniform(LEAST_SIDE, MOST_SIDE)), side)
        placed.append([(look, cut_stencil(look))])
    return _paint(rng, placed, split="train", side=side)


def _paint(
    rng: Generator, scenes: Sequence[Sequence[tuple[Look, Stencil]]], *, split: Split, side: int
) -> SceneSet:
    images = np.empty((len(scenes), 3, side, side), np.uint8)
    for image, placed in zip(images, scenes, strict=True):
        canvas = draw_background(rng, size=side)
        for look, stencil in placed:
            paint_object(canvas, stencil, look)
        image[:] = canvas.round().astype(np.uint8).transpose(2, 0, 1)
    return SceneSet(
        split,
        images,
        tuple(np.array([s.box_xyxy for _, s in placed], np.float32) for placed in scenes),
        tuple(tuple(f"{look.colour} {look.shape}" for look, _ in placed) for placed in scenes),
    )


def _drawn_by_tier(rng: Generator) -> Iterator[str]:
    shares = np.array([SHARE_OF_TIER[tier] for tier in TIERS.values()])
    while True:
        yield NAMES[rng.choice(len(NAMES), p=shares / shares.sum())]


def _dealt(rng: Generator, names: Sequence[str]) -> Iterator[str]:
    """All of the names in a new order, again and again."""
    while True:
        yield from (names[place] for place in rng.permutation(len(names)))


def _place(
    rng: Generator, names: Iterator[str], *, copies: float, side: int
) -> list[tuple[Look, Stencil]]:
    """A scene's objects, large ones first, so that small ones lie on top of them."""
    count = int(rng.integers(LEAST_OBJECTS, MOST_OBJECTS, endpoint=True))
    lengths = np.sort(np.exp(rng.uniform(np.log(LEAST_SIDE), np.log(MOST_SIDE), count)))[::-1]
    base = next(names)
    placed: list[tuple[Look, Stencil]] = []
    for length in lengths:
        name = base if rng.uniform() < copies else next(names)
        for _ in range(TRIES):
            look = _look(rng, name, float(length), side)
            if all(_hidden(look, other) <= MOST_HIDDEN for other, _ in placed):
                placed.append((look, cut_stencil(look)))
                break
    return placed


def _look(rng: Generator, name: str, length: float, side: int) -> Look:
    colour, shape = name.split()
    low, high = length / 2 + 1.5, side - length / 2 - 1.5
    x, y = rng.uniform(low, high, 2)
    return Look(
        colour=colour,
        texture="plain",
        shape=shape,
        centre_xy=(float(x), float(y)),
        side=length,
        stretch=float(rng.uniform(0.8, 1.25)),
        angle=float(rng.uniform(-0.35, 0.35)),
    )


def _hidden(one: Look, other: Look) -> float:
    """The share of the smaller object's square that both squares cover, in [0, 1]."""
    apart = np.abs(np.subtract(one.centre_xy, other.centre_xy))
    smaller = min(one.side, other.side)
    shared = np.clip((one.side + other.side) / 2 - apart, 0, smaller)
    return float(shared.prod() / smaller**2)
