"""A detector without its language model, trained from nothing on the labels of small scenes.

Its names are judged by alignment. All its weights begin at random: whatever it knows of pictures it
has from the labels.
"""

import json
from pathlib import Path
from typing import Any

import torch

from opendet.annotators.hash_text import HashTextEncoder
from opendet.bench.arms import TEXT_WIDTH, TRAINING, Part, arm
from opendet.bench.language import teach_language
from opendet.bench.synthetic import NAMES, SceneBatches, SceneSet
from opendet.model.detector import OpenDetector
from opendet.train import checkpoint
from opendet.train.config import TrainConfig
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.state import TrainingState
from opendet.train.text_vectors import TextVectors

PARTS: tuple[Part, ...] = ("ODR", "MAL", "BVLA-M")
PSEUDO_NEGATIVES = 24
"""Of the 64 names; OWL-ST draws about 50 of millions."""
HELD_OUT = 1000
"""Added to the seed of the scenes that a detector is judged by."""
TEXTS = HashTextEncoder(TEXT_WIDTH)
"""The frozen text tower."""


def begin_training(
    scenes: SceneSet,
    folder: Path,
    config: TrainConfig,
    *,
    batch_size: int,
    settings: dict[str, Any],
    device: torch.device,
) -> tuple[TrainingState, TextVectors]:
    """Where a training on these scenes stands, at its last checkpoint in `folder` or else at step
    0, and the vectors of all names. `settings` are its identity."""
    own = arm(PARTS, naming=False)
    namer = teach_language(NAMES, own.namer, seed=config.seed, lessons=0)
    torch.manual_seed(config.seed)
    detector = OpenDetector(own.detector, namer).to(device)
    detector.namer.requires_grad_(requires_grad=False)
    detector.prompts.requires_grad_(requires_grad=False)
    batches = SceneBatches(scenes, batch_size=batch_size, seed=config.seed)
    state = TrainingState(detector, batches, settings, config)
    if last := checkpoint.load_latest(folder / "checkpoints"):
        state.restore(last)
    text = TextVectors(NAMES, torch.from_numpy(TEXTS.encode_texts(NAMES))).to(device)
    return state, text


def training_config(*, steps: int, seed: int) -> TrainConfig:
    return TRAINING.model_copy(update={"steps": steps, "seed": seed})


def objective_config() -> ObjectiveConfig:
    """As OWL-ST it tells each image's names apart from those of other images too."""
    own = arm(PARTS, naming=False).objective
    return own.model_copy(update={"pseudo_negatives": PSEUDO_NEGATIVES})


def with_sections(own: dict[str, Any]) -> dict[str, Any]:
    """What decides a result, as JSON has it: a unit's own settings and the knobs turned here."""
    world = arm(PARTS, naming=False)
    sections = (world.detector, world.namer, objective_config(), TRAINING)
    deciding = {
        type(one).__name__: one.model_dump(mode="json", exclude_unset=True) for one in sections
    }
    plain: dict[str, Any] = json.loads(json.dumps(own | deciding))
    return plain
