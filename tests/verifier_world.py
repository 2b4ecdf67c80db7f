"""Procedural scenes with errors planted on purpose, and a verifier that sees pixels and errs in a
known share of its answers."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO

import numpy as np
from PIL import Image, ImageChops

from opendet.record import BoxXYXY, Provenance, Record, Region
from opendet.sample import Sample
from opendet.sources.scene_settings import SceneSettings
from opendet.sources.scenes import Scene, SceneVocabulary, draw_batch_scene

SIDE = 64
VOCABULARY = tuple(SceneVocabulary.from_seed(0).tiers)
FINDER = Provenance("finder", "1")


@dataclass(frozen=True)
class Planted:
    """A scene, its pseudo-labels, and which of them are wrong."""

    scene: Scene
    sample: Sample
    wrong_names: frozenset[int]
    """Regions whose name is another object's."""
    loose_boxes: frozenset[int]
    """Regions whose box was shrunk or shifted."""
    partial: frozenset[str]
    """Names of which an object has no box."""
    tried: tuple[str, ...]
    """Names for hard negatives, some of which are in the scene without a region of that name."""

    @property
    def true_names(self) -> frozenset[str]:
        return frozenset(thing.name for thing in self.scene.objects)


def planted_scene(index: int, *, share: float, rng: random.Random) -> Planted:
    """A scene with about `share` of its names wrong and of its boxes loose, and half as many
    regions gone."""
    scene = draw_batch_scene(SceneSettings(size=SIDE), batch="a", split="train", index=index)
    there = [thing for thing in scene.objects if rng.random() >= share / 2] or [*scene.objects[:1]]
    wrong, loose = (
        frozenset(number for number in range(len(there)) if rng.random() < share) for _ in "nb"
    )
    regions = tuple(
        Region(
            shaken(thing.box_xyxy, rng) if number in loose else thing.box_xyxy,
            FINDER,
            label=thing.name,
            names=(other_than(thing.name, rng) if number in wrong else thing.name,),
            names_from=FINDER,
        )
        for number, thing in enumerate(there)
    )
    said = {region.names[0] for region in regions}
    true = [thing.name for thing in scene.objects]
    partial = frozenset(name for name in said if true.count(name) > boxes_of(name, regions, true))
    tried = tuple(dict.fromkeys((*set(true) - said, *rng.sample(VOCABULARY, 2))))
    record = Record(
        f"a-{index}", "s", "a", "train", "CC0-1.0", "x.jpg", "jpg", 1, f"{index:064x}", SIDE, SIDE,
        caption="a scene", regions=regions,
    )  # fmt: skip
    pixels = Image.open(BytesIO(scene.content)).convert("RGB")
    return Planted(scene, Sample(record, pixels), wrong, loose, partial, tried)


def boxes_of(name: str, regions: Sequence[Region], true: Sequence[str]) -> int:
    return min(true.count(name), sum(region.names[0] == name for region in regions))


def shaken(box_xyxy: BoxXYXY, rng: random.Random) -> BoxXYXY:
    """A box of half the sides, or one that is shifted by half of them."""
    x0, y0, x1, y1 = box_xyxy
    wide, high = (x1 - x0) / 2, (y1 - y0) / 2
    if rng.random() < 0.5:
        return x0 + wide / 2, y0 + high / 2, x1 - wide / 2, y1 - high / 2
    left = x0 - wide if x1 + wide > SIDE else x0 + wide
    top = y0 - high if y1 + high > SIDE else y0 + high
    return max(left, 0.0), max(top, 0.0), min(left + 2 * wide, SIDE), min(top + 2 * high, SIDE)


def other_than(name: str, rng: random.Random) -> str:
    return rng.choice([other for other in VOCABULARY if other != name])


@dataclass
class ErringOracle:
    """Answers from the pixels that it is shown and from the truth of the scenes; each answer is
    turned into its contrary with a probability of `error`."""

    worlds: Sequence[Planted]
    error: float
    name: str = "oracle"
    revision: str = "7"
    told: list[bool] = field(default_factory=list)
    """For each question, whether its answer was true."""

    def __post_init__(self) -> None:
        self._rng = random.Random(5)
        lines = ((one, line) for one in self.worlds for line in lines_of(one.sample.pixels))
        self._world_of = {line: one for one, line in lines}
        self._crops = {
            crop.tobytes(): thing
            for world in self.worlds
            for region, thing in zip(world.sample.record.regions, labelled(world), strict=True)
            if (crop := crop_of(world.sample, region.box_xyxy))
        }

    def ask(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[str]:
        pairs = zip(images, prompts, strict=True)
        return [self._answer(image, *prompt.split(":")) for image, prompt in pairs]

    def _answer(self, image: Image.Image, kind: str, name: str) -> str:
        right = self._rng.random() >= self.error
        self.told.append(right)
        return "yes" if self._truth(image, kind, name) == right else "No."

    def _truth(self, image: Image.Image, kind: str, name: str) -> bool:
        if kind == "name":
            return self._crops[image.tobytes()] == name
        # A drawn box crosses some rows and columns and leaves the others as they were.
        world = next(self._world_of[line] for line in lines_of(image) if line in self._world_of)
        if kind == "there":
            return name in world.true_names
        if kind == "all":
            return name not in world.partial
        drawn = ImageChops.difference(image, world.sample.pixels or image).getbbox()
        return drawn in {line_around(thing.box_xyxy) for thing in world.scene.objects}


def labelled(world: Planted) -> list[str]:
    return [region.label or "" for region in world.sample.record.regions]


def lines_of(image: Image.Image | None) -> list[bytes]:
    """Its rows and columns."""
    assert image is not None
    rows = np.asarray(image)
    return [line.tobytes() for line in (*rows, *rows.swapaxes(0, 1))]


def line_around(box_xyxy: BoxXYXY) -> tuple[int, int, int, int]:
    """The outer edge of a line of one pixel around a box, within the image."""
    x0, y0, x1, y1 = box_xyxy
    low = (max(math.floor(x0) - 1, 0), max(math.floor(y0) - 1, 0))
    return (*low, min(math.ceil(x1) + 1, SIDE), min(math.ceil(y1) + 1, SIDE))


def crop_of(sample: Sample, box_xyxy: BoxXYXY) -> Image.Image:
    """The box and a fifth of its sides around it, whole pixels, within the image."""
    assert sample.pixels is not None
    x0, y0, x1, y1 = box_xyxy
    wide, high = (x1 - x0) / 5, (y1 - y0) / 5
    low = (int(max(x0 - wide, 0)), int(max(y0 - high, 0)))
    return sample.pixels.crop(
        (*low, int(min(x1 + wide, SIDE) + 0.999), int(min(y1 + high, SIDE) + 0.999))
    )


def unnamed(record: Record) -> Record:
    """The record with its names taken away."""
    return replace(record, regions=tuple(replace(one, names=()) for one in record.regions))
