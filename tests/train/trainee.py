"""A recipe that trains the tests' small detector on the tests' small shards in a second."""

from dataclasses import replace
from pathlib import Path

import shard_world

from opendet.faults.toy_training import RECIPE as TOY
from opendet.faults.toy_training import HashTower
from opendet.train.recipe import Recipe
from opendet.train.run import train

RECIPE = replace(TOY, train=TOY.train.model_copy(update={"steps": 8}))


def publish_shards(folder: Path) -> None:
    """Eleven images, so that an epoch leaves some out and the next one begins mid-run."""
    shard_world.publish(folder, {"a-000000": shard_world.samples(11)})


def publish_even_shards(folder: Path, shards: int = 1) -> None:
    """Twelve images of one size, so that no batch pads differently, each with an object."""
    box = shard_world.region((4, 4, 30, 24), "thing")
    spot = shard_world.region((34, 20, 60, 40), "spot")
    made = [
        shard_world.painted(f"a-{index:04d}", regions=regions, seed=index)
        for index, regions in enumerate([[box], [box, spot], [spot]] * 4)
    ]
    each = len(made) // shards
    shard_world.publish(
        folder, {f"a-{n:06d}": made[n * each : (n + 1) * each] for n in range(shards)}
    )


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
