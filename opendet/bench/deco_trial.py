"""One detector of the small world with DeCo-DETR's heads beside it; killed, it goes on."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opendet.bench.arms import TEXT_WIDTH, TRAINING, Arm, Part, arm
from opendet.bench.deco_heads import (
    HEADS,
    Pupils,
    known_prototypes,
    lesson_of,
    new_head,
)
from opendet.bench.deco_judging import judge_heads
from opendet.bench.deco_world import POOL, TEXTS, base_vectors, crops_of
from opendet.bench.harness import code_of
from opendet.bench.judging import judge
from opendet.bench.looking import teach_backbone
from opendet.bench.synthetic import SceneBatches, draw_scenes
from opendet.data.batch import Batch, RegionRef, Target
from opendet.model.config import BackboneConfig
from opendet.model.detector import OpenDetector
from opendet.model.no_namer import NoNamer
from opendet.train import checkpoint
from opendet.train.distributed import Ranks
from opendet.train.loop import train_steps
from opendet.train.metrics_log import Series
from opendet.train.objective import Objective
from opendet.train.randomness import reproducible
from opendet.train.state import TrainingState
from opendet.train.training_step import TrainingStep
from opendet.train.weights import load_tensors

PARTS: tuple[Part, ...] = ("ODR", "MAL", "BVLA-M")
"""Of the detector: its own flow classifies base names by alignment, as the paper's by a layer."""
UNLABELLED = 500
"""Added to the seed of the scenes that proposals come from; `HELD_OUT` of those that judge."""
HELD_OUT = 1000


@dataclass(frozen=True, slots=True)
class DecoTrial:
    """What decides a run."""

    heads: tuple[str, ...]
    """Of `HEADS`: isolated ones, or one that shares."""
    seed: int
    steps: int = 1400
    batch_size: int = 12
    train_scenes: int = 4096
    unlabelled_scenes: int = 512
    test_scenes: int = 256
    sight_lessons: int = 1000
    """Of the backbone's own training, before."""

    @property
    def title(self) -> str:
        return f"{' + '.join(self.heads)}, seed {self.seed}"

    def settings(self) -> dict[str, Any]:
        """What decides the result, as JSON has it."""
        own = _arm()
        sections = (own.detector, own.objective, TRAINING, POOL)
        deciding = {
            "sections": [one.model_dump(mode="json", exclude_unset=True) for one in sections],
            "of heads": {name: asdict(HEADS[name]) for name in self.heads},
        }
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self) | deciding))
        return plain


class ReferredBatches(SceneBatches):
    """Scenes' batches whose objects say which regions they are."""

    def __iter__(self) -> Iterator[Batch]:
        for batch in super().__iter__():
            pairs = zip(batch.keys, batch.targets, strict=True)
            yield replace(batch, targets=tuple(_referred(key, target) for key, target in pairs))


def run_deco(trial: DecoTrial, folder: Path, device: str = "cpu") -> dict[str, Any]:
    """Train and judge, or go on with it, in `folder`, which is gone in the end.

    Returns `heads` (name -> what `judge_heads` says), `aligner` (the detector's own names), `pool`
    (the prototypes of each), `cpu_seconds` and `code`.
    """
    ranks = Ranks(torch.device(device))
    with reproducible(ranks.device, threads=1):
        state, objective = _begin(trial, folder, ranks.device)
        pupils = state.detector
        assert isinstance(pupils, Pupils)
        series = Series(folder / "series.csv", start=state.step, config=state.config, ranks=ranks)
        begun, start = state.step, time.process_time()
        train_steps(
            state,
            TrainingStep(pupils.detector, objective),
            state.config,
            ranks=ranks,
            series=series,
            checkpoints=folder / "checkpoints",
            hooks=objective,
        )
        series.close()
        pace = (time.process_time() - start) / max(1, state.step - begun)
        told = _judged(trial, state, pupils)
    shutil.rmtree(folder)
    return {**told, "cpu_seconds": round(pace * trial.steps, 1), "code": code_of(__name__)}


def _judged(trial: DecoTrial, state: TrainingState, pupils: Pupils) -> dict[str, Any]:
    load_tensors(pupils, state.ema.tensors, what="the average of the weights")
    scenes = draw_scenes(trial.test_scenes, seed=trial.seed + HELD_OUT, split="test")
    heads = pupils.known_heads()
    return {
        "heads": judge_heads(pupils.detector, heads, scenes),
        "aligner": judge(pupils.detector, scenes, TEXTS.encode_texts, by="alignment"),
        "pool": {name: len(head.names) for name, head in heads.items()},
    }


def _begin(trial: DecoTrial, folder: Path, device: torch.device) -> tuple[TrainingState, Objective]:
    """Where the run stands: at its last checkpoint, else at step 0."""
    own = _arm()
    scenes = draw_scenes(trial.train_scenes, seed=trial.seed, split="train")
    crops = crops_of(scenes, seed=trial.seed)
    others = draw_scenes(trial.unlabelled_scenes, seed=trial.seed + UNLABELLED, split="test")
    known = known_prototypes(trial.heads, scenes, crops, others, seed=trial.seed)
    seen = _backbone(own.detector.backbone, trial.seed, trial.sight_lessons)
    torch.manual_seed(trial.seed)
    detector = OpenDetector(own.detector, NoNamer(own.namer, TEXT_WIDTH)).to(device)
    detector.backbone.load_state_dict(seen)
    detector.prompts.requires_grad_(requires_grad=False)
    width = own.detector.width
    heads = {
        name: new_head(name, width, known[HEADS[name].pool], seed=trial.seed).to(device)
        for name in trial.heads
    }
    pupils = Pupils(detector, heads)
    training = TRAINING.model_copy(update={"steps": trial.steps, "seed": trial.seed})
    batches = ReferredBatches(scenes, batch_size=trial.batch_size, seed=trial.seed)
    state = TrainingState(pupils, batches, trial.settings(), training)
    lessons = [
        lesson_of(name, head, known[HEADS[name].pool], crops, trial.steps)
        for name, head in heads.items()
    ]
    if last := checkpoint.load_latest(folder / "checkpoints"):
        state.restore(last)
    return state, Objective(own.objective, base_vectors().to(device), lessons)


def _referred(key: str, target: Target) -> Target:
    regions = tuple(RegionRef(key, number) for number in range(len(target.names)))
    return replace(target, regions=regions)


def _arm() -> Arm:
    return arm(PARTS, naming=False)


@cache
def _backbone(config: BackboneConfig, seed: int, lessons: int) -> dict[str, Tensor]:
    return teach_backbone(config, seed=seed, lessons=lessons)
