"""A recipe that trains the tests' small detector on the tests' small shards in a second."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shard_world
from numpy.typing import NDArray

from opendet.data.config import LoaderConfig
from opendet.train.config import TrainConfig, WarmupConfig
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.recipe import Recipe
from opendet.train.run import train
from tests.model.worlds import TINY_DETECTOR, TINY_NAMER

WIDTH = TINY_NAMER.tiny_width

RECIPE = Recipe(
    train=TrainConfig(
        steps=8,
        learning_rate=1e-3,
        warmup_steps=2,
        checkpoint_every=2,
        log_every=2,
        threads=1,
        warmup=WarmupConfig(steps=3, batch_size=4),
    ),
    loader=LoaderConfig(
        batch_size=4,
        shortest_edges=(32, 40),
        longest_edge=64,
        evaluation_edge=32,
        crop_edges=(36,),
        crop_sides=(24, 36),
    ),
    detector=TINY_DETECTOR.model_copy(update={"dropout": 0.1}),
    namer=TINY_NAMER,
    objective=ObjectiveConfig(),
)


class HashTower:
    """A text tower that gives every text a unit vector of its own."""

    revision = "hash"

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = [self._row(text) for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)

    def _row(self, text: str) -> NDArray[np.float64]:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        return np.random.default_rng(seed).standard_normal(WIDTH)


def publish_shards(folder: Path) -> None:
    """Eleven images, so that an epoch leaves some out and the next one begins mid-run."""
    shard_world.publish(folder, {"a-000000": shard_world.samples(11)})


def publish_even_shards(folder: Path) -> None:
    """Twelve images of one size, so that no batch pads differently, each with an object."""
    box = shard_world.region((4, 4, 30, 24), "thing")
    spot = shard_world.region((34, 20, 60, 40), "spot")
    made = [
        shard_world.painted(f"a-{index:04d}", regions=regions, seed=index)
        for index, regions in enumerate([[box], [box, spot], [spot]] * 4)
    ]
    shard_world.publish(folder, {"a-000000": made})


def changed(**values: object) -> Recipe:
    """RECIPE with other knobs of the section `train`."""
    return Recipe(
        RECIPE.train.model_copy(update=values),
        RECIPE.loader,
        RECIPE.detector,
        RECIPE.namer,
        RECIPE.objective,
    )


def run(shards: Path, work: Path, recipe: Recipe = RECIPE) -> Path:
    return train(recipe, shards, work, clip=HashTower(), template="a {name}")
