"""An annotator whose errors are known: what it finds in the scenes of the small world.

It misses objects, shakes boxes, confuses names and sees what is not there, each image by chance of
its own, so that it errs on held-out scenes as it does where it labels. Its scores know something of
whether it is right, and not all.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from opendet.bench.synthetic import LEAST_SIDE, MOST_SIDE, NAMES, SceneSet
from opendet.evaluation.ap import Predictions

# N boxes of one image


@dataclass(frozen=True, slots=True)
class Errors:
    """How often, and by how much, the annotator errs."""

    missed: float = 0.35
    """Share of the objects that it does not see."""
    misnamed: float = 0.3
    """Share of the others that it takes for another of the same colour or of the same shape."""
    invented: float = 1.0
    """Boxes around nothing, on average of an image."""
    shaken: tuple[float, float] = (0.02, 0.14)
    """Least and largest deviation of a box's edges, in units of its sides; drawn for each box."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """OWL-ST's rule of which boxes become labels."""

    box: float
    """Least score of a box."""
    image: float
    """Least score that one box of an image must reach for the image to be used."""


def annotate(scenes: SceneSet, errors: Errors, *, seed: int) -> list[Predictions]:
    """What it says of each scene; of the same seed, split and place the same."""
    split = zlib.crc32(scenes.split.encode())
    return [
        _seen(scenes, row, errors, np.random.default_rng([seed, split, row, 1]))
        for row in range(len(scenes))
    ]


def kept(found: Predictions, thresholds: Thresholds) -> Predictions | None:
    """The boxes that become labels; None for an image that is not used."""
    if not (found.scores >= thresholds.image).any():
        return None
    sure = found.scores >= thresholds.box
    return Predictions(found.boxes_xyxy[sure], found.scores[sure], found.classes[sure])


def labelled(scenes: SceneSet, found: Sequence[Predictions], thresholds: Thresholds) -> SceneSet:
    """The scenes that are used, with the annotator's labels in place of the truth."""
    rows, labels = [], []
    for row, one in enumerate(found):
        if (sure := kept(one, thresholds)) is not None:
            rows.append(row)
            labels.append(sure)
    return replace(
        scenes,
        images=scenes.images[np.array(rows, np.int64)],
        boxes_xyxy=tuple(one.boxes_xyxy.astype(np.float32) for one in labels),
        names=tuple(tuple(NAMES[kind] for kind in one.classes.tolist()) for one in labels),
    )


def _seen(scenes: SceneSet, row: int, errors: Errors, rng: Generator) -> Predictions:
    side = scenes.images.shape[-1]
    boxes, scores, classes = [], [], []
    for box, name in zip(scenes.boxes_xyxy[row], scenes.names[row], strict=True):
        if rng.random() < errors.missed:
            continue
        right = rng.random() >= errors.misnamed
        deviation = float(np.exp(rng.uniform(*np.log(errors.shaken))))
        boxes.append(_shaken(box.astype(np.float64), deviation, side, rng))
        scores.append(_score(rng, right=right and deviation < errors.shaken[1] / 2))
        classes.append(NAMES.index(name if right else _like(name, rng)))
    for _ in range(int(rng.poisson(errors.invented))):
        boxes.append(_anywhere(side, rng))
        scores.append(_score(rng, right=False))
        classes.append(int(rng.integers(len(NAMES))))
    return Predictions(
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(scores, np.float64),
        np.array(classes, np.int64),
    )


def _score(rng: Generator, *, right: bool) -> float:
    """In [0, 1]: 0.6 on average where it is right, 0.3 where it is not."""
    return float(rng.beta(4.2, 2.8) if right else rng.beta(2.1, 4.9))


def _like(name: str, rng: Generator) -> str:
    """Another name that shares a word with this one."""
    words = set(name.split())
    near = [other for other in NAMES if len(words & set(other.split())) == 1]
    return near[int(rng.integers(len(near)))]


def _shaken(
    box_xyxy: NDArray[np.float64], deviation: float, side: int, rng: Generator
) -> NDArray[np.float64]:
    """Each edge moves by itself; the box stays in the image and has an inside."""
    sides = np.tile(box_xyxy[2:] - box_xyxy[:2], 2)
    moved = np.clip(box_xyxy + deviation * sides * rng.standard_normal(4), 0, side)
    first, last = np.minimum(moved[:2], moved[2:]), np.maximum(moved[:2], moved[2:])
    first = np.minimum(first, side - 1)
    return np.concatenate((first, np.maximum(last, first + 1)))


def _anywhere(side: int, rng: Generator) -> NDArray[np.float64]:
    """A box of an object's size around nothing in particular."""
    sides = rng.uniform(LEAST_SIDE, MOST_SIDE, 2)
    first = rng.uniform(0, side - sides)
    return np.concatenate((first, first + sides))
