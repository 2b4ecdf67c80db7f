"""`python -m opendet.faults.toy_training SHARDS WORK`: a training of seconds, by the real trainer.

A detector of a few thousand weights and a T5 of one layer; loader, losses, checkpoints, average and
export are those of every training.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opendet.console import exit_code_of, interrupt_on_sigterm
from opendet.data.config import LoaderConfig
from opendet.model.config import BackboneConfig, DetectorConfig, NamerConfig
from opendet.train.config import TrainConfig, WarmupConfig
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.recipe import Recipe
from opendet.train.run import train

STEPS = 12
WIDTH = 32
NAMER = NamerConfig(t5="tiny", beams=2, tiny_width=WIDTH, tiny_feedforward=32, tiny_layers=1)
DETECTOR = DetectorConfig(
    backbone=BackboneConfig(name="tiny", tiny_channels=(8, 16, 16, 16)),
    width=32,
    encoder_layers=1,
    cross_layers=1,
    self_layers=2,
    heads=4,
    points=2,
    feedforward=32,
    queries=12,
    queries_min=3,
    denoising_pairs=4,
    distiller_hidden=32,
)
RECIPE = Recipe(
    train=TrainConfig(
        steps=STEPS,
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
    detector=DETECTOR.model_copy(update={"dropout": 0.1}),
    namer=NAMER,
    objective=ObjectiveConfig(),
)


def project_sections(*, prompt_width: int) -> dict[str, Any]:
    """The recipe as a project's configuration has it, for a CLIP whose texts are so wide."""
    sections = {
        "train": RECIPE.train,
        "loader": RECIPE.loader,
        "detector": RECIPE.detector,
        "namer": RECIPE.namer.model_copy(update={"prompt_width": prompt_width}),
    }
    return {name: one.model_dump(mode="json", exclude_unset=True) for name, one in sections.items()}


class HashTower:
    """A text tower that gives every text a unit vector of its own."""

    revision = "hash"

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = [_row(text) for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


def train_toy(shards: Path, work: Path) -> Path:
    """The model's folder; a run that was killed goes on. Its signals tell which images it saw."""
    recipe = replace(RECIPE, train=RECIPE.train.model_copy(update={"signals": True}))
    return train(recipe, shards, work, clip=HashTower(), template="a {name}")


def command(shards: Path, work: Path) -> list[str]:
    """The command line of a training."""
    return [sys.executable, "-m", "opendet.faults.toy_training", str(shards), str(work)]


def _row(text: str) -> NDArray[np.float64]:
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(WIDTH)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("work", type=Path)
    asked = parser.parse_args(arguments)
    train_toy(asked.shards, asked.work)
    return 0


if __name__ == "__main__":
    interrupt_on_sigterm()
    sys.exit(exit_code_of(main))
