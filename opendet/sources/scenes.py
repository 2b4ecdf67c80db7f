"""Procedural scenes: pictures whose truth is known, drawn from a seed and from nothing else.

A scene shows 2 to 8 objects, each a `<colour> <texture> <shape>`. A seed also decides how often
training shows a name: frequent, common, rare, or never (`unseen`). The same arguments give the
same bytes in every run and process, as long as Pillow and numpy stay the same.
"""

import hashlib
import io
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal, cast

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from opendet.annotators.grammar import Named, write_caption
from opendet.record import BoxXYXY
from opendet.sources.drawing import (
    PAINTS,
    Look,
    Pixels,
    Stencil,
    Texture,
    cut_stencil,
    draw_background,
    paint_object,
)
from opendet.sources.scene_settings import SceneSettings
from opendet.sources.shapes import SHAPES

Tier = Literal["frequent", "common", "rare", "unseen"]

TEXTURES: tuple[Texture, ...] = ("plain", "striped", "dotted")
LAYERS = 12
"""The names fall into so many layers, in each of which every word occurs equally often."""
TIER_OF_LAYER: tuple[Tier, ...] = (
    *("frequent",) * 3,
    *("common",) * 3,
    *("rare",) * 4,
    *("unseen",) * 2,
)
TIER_SHARE: dict[str, dict[Tier, float]] = {
    "train": {"frequent": 0.70, "common": 0.22, "rare": 0.08, "unseen": 0.0},
    "held out": {"frequent": 0.45, "common": 0.25, "rare": 0.17, "unseen": 0.13},
}
"""How many of the objects are of a tier; within a tier all names are equally likely."""
MIN_VISIBLE = 0.7
"""No object may hide more of another than leaves this share of it."""
TRIES = 120
"""Places that are tried for an object before the scene does without it."""


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One object and the truth about it."""

    name: str
    """`<colour> <texture> <shape>`."""
    box_xyxy: BoxXYXY
    """Tight around the whole object, hidden parts included; pixels."""
    colour: str
    texture: str
    shape: str


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and the truth about it."""

    content: bytes
    """The JPEG file."""
    size: int
    """Pixels of its width and of its height."""
    objects: tuple[SceneObject, ...]
    """From the hindmost to the foremost."""
    captions: tuple[str, ...]
    """True sentences with counts and relations."""


@dataclass(frozen=True)
class SceneVocabulary:
    """All names that a seed's scenes may show, and how often training shows them."""

    tiers: dict[str, Tier]
    """Name -> tier, in alphabetical order of the names."""

    @classmethod
    def from_seed(cls, seed: int) -> "SceneVocabulary":
        """Every word occurs equally often in each tier, so that no tier is harder by its words."""
        rng = np.random.default_rng([seed, 0])
        colours, shapes = (sorted(words) for words in (PAINTS, SHAPES))
        # with 8 colours, 3 textures and 12 shapes, s + c + 8 t modulo 12 puts each word into each
        # layer equally often: for one shape, c + 8 t runs through 0..23
        assert (len(colours), len(TEXTURES), len(shapes)) == (8, 3, LAYERS)
        ranks = [rng.permutation(count) for count in (8, 3, LAYERS)]
        layers = rng.permutation(LAYERS)
        tiers: dict[str, Tier] = {}
        for c, t, s in product(range(8), range(3), range(LAYERS)):
            layer = layers[(ranks[2][s] + ranks[0][c] + 8 * ranks[1][t]) % LAYERS]
            tiers[f"{colours[c]} {TEXTURES[t]} {shapes[s]}"] = TIER_OF_LAYER[layer]
        return cls(dict(sorted(tiers.items())))

    def frequency_of(self, name: str) -> Tier:
        """Raises KeyError for a name that no scene shows."""
        return self.tiers[name]

    def of_tier(self, tier: Tier) -> tuple[str, ...]:
        return tuple(name for name, own in self.tiers.items() if own == tier)

    def draw_name(self, rng: Generator, *, split: str) -> str:
        """A name at random; never an unseen one where `split` is `train`."""
        shares = TIER_SHARE["train" if split == "train" else "held out"]
        tiers = tuple(shares)
        names = self.of_tier(tiers[rng.choice(len(tiers), p=tuple(shares.values()))])
        return names[rng.integers(len(names))]


@cache
def _vocabulary(seed: int) -> SceneVocabulary:
    return SceneVocabulary.from_seed(seed)


def draw_batch_scene(settings: SceneSettings, *, batch: str, split: str, index: int) -> Scene:
    """The scene of that number in a batch; no two batches or splits share one."""
    place = hashlib.sha256(f"{batch}\n{split}".encode()).digest()
    rng = np.random.default_rng([settings.seed, int.from_bytes(place[:8]), index])
    canvas = draw_background(rng, size=settings.size)
    placed = _place_objects(rng, settings, _vocabulary(settings.seed), split)
    for look, stencil in placed:
        paint_object(canvas, stencil, look)
    objects = tuple(_as_object(look, stencil) for look, stencil in placed)
    caption = write_caption(
        [Named(thing.name, thing.box_xyxy) for thing in objects],
        width=settings.size,
        height=settings.size,
        key=f"{batch}\n{split}\n{index}",
    )
    return Scene(_encode(canvas), settings.size, objects, (caption,))


def _place_objects(
    rng: Generator, settings: SceneSettings, vocabulary: SceneVocabulary, split: str
) -> list[tuple[Look, Stencil]]:
    """Large objects first, so that small ones lie on top of them."""
    count = int(rng.integers(settings.min_objects, settings.max_objects, endpoint=True))
    low, high = settings.smallest * settings.size, settings.largest * settings.size
    sides = np.sort(np.exp(rng.uniform(np.log(low), np.log(high), count)))[::-1]
    placed: list[tuple[Look, Stencil]] = []
    exposed: list[Pixels] = []
    for side in sides:
        known = [_name(look) for look, _ in placed]
        repeats = known and rng.uniform() < settings.repeat_share
        name = (
            known[rng.integers(len(known))] if repeats else vocabulary.draw_name(rng, split=split)
        )
        found = _find_place(rng, settings, name, float(side), placed, exposed)
        if found is not None:
            exposed = [mask * (1 - found[1].on_canvas(settings.size)) for mask in exposed]
            exposed.append(found[1].on_canvas(settings.size))
            placed.append(found)
    return placed


def _find_place(
    rng: Generator,
    settings: SceneSettings,
    name: str,
    side: float,
    placed: list[tuple[Look, Stencil]],
    exposed: list[Pixels],
) -> tuple[Look, Stencil] | None:
    """A place for an object where it hides no other one too much; it shrinks while it searches."""
    margin = 1.5 / settings.size
    apart = rng.uniform() < settings.apart_share
    for attempt in range(TRIES):
        length = max(side * 0.97 ** (attempt // 6), settings.smallest * settings.size)
        share = length / settings.size / 2 + margin
        look = _look(rng, name, length, rng.uniform(share, 1 - share, 2) * settings.size)
        if apart and attempt < TRIES // 2 and any(_may_touch(look, other) for _, other in placed):
            continue
        stencil = cut_stencil(look)
        cover = stencil.on_canvas(settings.size)
        if all(
            float((mask * (1 - cover)).sum()) >= MIN_VISIBLE * float(other.cover.sum())
            for mask, (_, other) in zip(exposed, placed, strict=True)
        ):
            return look, stencil
    return None


def _may_touch(look: Look, other: Stencil) -> bool:
    """Whether the square around an object reaches into another one's box."""
    (x, y), half, (x0, y0, x1, y1) = look.centre_xy, look.side / 2, other.box_xyxy
    return x0 - half < x < x1 + half and y0 - half < y < y1 + half


def _look(rng: Generator, name: str, side: float, centre: NDArray[np.float64]) -> Look:
    colour, texture, shape = name.split()
    return Look(
        colour=colour,
        texture=cast(Texture, texture),
        shape=shape,
        centre_xy=(float(centre[0]), float(centre[1])),
        side=side,
        stretch=float(rng.uniform(0.87, 1.15)),
        angle=float(rng.uniform(-0.35, 0.35)),
    )


def _name(look: Look) -> str:
    return f"{look.colour} {look.texture} {look.shape}"


def _as_object(look: Look, stencil: Stencil) -> SceneObject:
    return SceneObject(_name(look), stencil.box_xyxy, look.colour, look.texture, look.shape)


def _encode(canvas: Pixels) -> bytes:
    """A JPEG file without chroma subsampling, which would wash small stripes out."""
    file = io.BytesIO()
    picture = Image.fromarray(canvas.round().astype(np.uint8))
    picture.save(file, "JPEG", quality=92, subsampling=0)
    return file.getvalue()
