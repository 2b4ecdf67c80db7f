"""One training run in the small world, judged on the way; killed and started again, it goes on."""

import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opendet.annotators.hash_text import HashTextEncoder
from opendet.bench.arms import TEXT_WIDTH, TRAINING, Part, arm
from opendet.bench.harness import code_of
from opendet.bench.judging import judge
from opendet.bench.language import teach_language
from opendet.bench.looking import teach_backbone
from opendet.bench.synthetic import NAMES, TIERS, SceneBatches, SceneSet, Split, draw_scenes
from opendet.files import write_json_durably
from opendet.model.config import BackboneConfig
from opendet.model.detector import OpenDetector
from opendet.train import checkpoint
from opendet.train.config import TrainConfig
from opendet.train.distributed import Ranks
from opendet.train.loop import train_steps
from opendet.train.metrics_log import Series
from opendet.train.objective import Objective
from opendet.train.randomness import reproducible
from opendet.train.state import TrainingState
from opendet.train.text_vectors import TextVectors
from opendet.train.training_step import TrainingStep
from opendet.train.weights import load_tensors, own_tensors

log = logging.getLogger(__name__)

TEXTS = HashTextEncoder(TEXT_WIDTH)
"""The frozen text tower."""

Point = dict[str, float]
"""`step`, `cpu_seconds` (of training, up to there) and what `judge` says."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What decides a run."""

    parts: tuple[Part, ...]
    seed: int
    """Of the scenes, their order, the weights and the noise."""
    milestones: tuple[int, ...]
    """Steps after which it is judged, ascending; the last one ends it."""
    naming: bool = True
    """Whether the language model is trained; without it names are judged by alignment."""
    distilled: bool | None = None
    """The distillation loss, where it is to be apart from VLD-M."""
    batch_size: int = 12
    train_scenes: int = 4096
    test_scenes: int = 256
    word_lessons: int = 400
    """Steps of the language model's own training, before."""
    sight_lessons: int = 1000
    """Of the backbone's."""

    @property
    def title(self) -> str:
        return f"{' + '.join(self.parts) or 'base'}, seed {self.seed}"

    def settings(self) -> dict[str, Any]:
        """What decides the result, as JSON has it: of the knobs those that `arms` turns, so that a
        knob which comes later makes no stranger of a kept run."""
        own = arm(self.parts, naming=self.naming, distilled=self.distilled)
        sections = (own.detector, own.namer, own.objective, TRAINING)
        deciding = {
            type(one).__name__: one.model_dump(mode="json", exclude_unset=True) for one in sections
        }
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self) | deciding))
        return plain


def run_trial(trial: Trial, folder: Path, device: str = "cpu") -> dict[str, Any]:
    """Train and judge, or go on with it, in `folder`, which is gone in the end.

    Returns `curve` (a `Point` for each milestone), `parameters`, and `code`, the version of the
    code that ended it.
    """
    ranks = Ranks(torch.device(device))
    with reproducible(ranks.device, threads=1):
        state, step = _begin(trial, folder, ranks.device)
        curve = _read_curve(folder)
        for milestone in trial.milestones[len(curve) :]:
            config = _training(trial, steps=milestone)
            series = Series(folder / "series.csv", start=state.step, config=config, ranks=ranks)
            first, start = state.step, time.process_time()
            checkpoints = folder / "checkpoints"
            train_steps(state, step, config, ranks=ranks, series=series, checkpoints=checkpoints)
            pace = (time.process_time() - start) / max(1, state.step - first)  # of what ran here
            curve.append(_point(trial, state, pace, curve))
            log.info("%s: %s", trial.title, curve[-1])
            write_json_durably(folder / "curve.json", curve)
    parameters = sum(parameter.numel() for parameter in state.detector.parameters())
    shutil.rmtree(folder)
    return {"curve": curve, "parameters": parameters, "code": code_of(__name__)}


def _begin(trial: Trial, folder: Path, device: torch.device) -> tuple[TrainingState, TrainingStep]:
    """Where the run stands: at its last checkpoint, else at step 0."""
    own = arm(trial.parts, naming=trial.naming, distilled=trial.distilled)
    namer = teach_language(NAMES, own.namer, seed=trial.seed, lessons=trial.word_lessons)
    seen = _backbone(own.detector.backbone, trial.seed, trial.sight_lessons)
    torch.manual_seed(trial.seed)
    detector = OpenDetector(own.detector, namer).to(device)
    detector.backbone.load_state_dict(seen)
    if not trial.naming:
        detector.namer.requires_grad_(requires_grad=False)
        detector.prompts.requires_grad_(requires_grad=False)
    state = TrainingState(
        detector,
        SceneBatches(
            _scenes("train", trial.seed, trial.train_scenes),
            batch_size=trial.batch_size,
            seed=trial.seed,
        ),
        trial.settings(),
        _training(trial, steps=trial.milestones[-1]),
    )
    if last := checkpoint.load_latest(folder / "checkpoints"):
        state.restore(last)
    return state, TrainingStep(detector, Objective(own.objective, _trained_texts().to(device)))


def _training(trial: Trial, *, steps: int) -> TrainConfig:
    assert TRAINING.decay == "none"  # a schedule would have to know the last step
    return TRAINING.model_copy(update={"steps": steps, "seed": trial.seed})


def _read_curve(folder: Path) -> list[Point]:
    path = folder / "curve.json"
    return list(json.loads(path.read_text())) if path.is_file() else []


def _point(trial: Trial, state: TrainingState, pace: float, before: Sequence[Point]) -> Point:
    """Judged by the average of the weights; training goes on with the weights themselves."""
    assert isinstance(state.detector, OpenDetector)
    spent, known = (before[-1]["cpu_seconds"], before[-1]["step"]) if before else (0.0, 0)
    last = {name: tensor.detach().clone() for name, tensor in own_tensors(state.detector).items()}
    load_tensors(state.detector, state.ema.tensors, what="the average of the weights")
    said = judge(
        state.detector,
        _scenes("test", trial.seed, trial.test_scenes),
        TEXTS.encode_texts,
        by="name" if trial.naming else "alignment",
    )
    load_tensors(state.detector, last, what="the last weights")
    seconds = round(spent + pace * (state.step - known), 1)
    return {"step": state.step, "cpu_seconds": seconds} | {
        name: round(value, 4) for name, value in said.items()
    }


def _trained_texts() -> TextVectors:
    """Of the names that training may show: no unseen name is among them."""
    names = tuple(name for name, tier in TIERS.items() if tier != "unseen")
    return TextVectors(names, torch.from_numpy(TEXTS.encode_texts(names)))


@cache
def _backbone(config: BackboneConfig, seed: int, lessons: int) -> dict[str, Tensor]:
    return teach_backbone(config, seed=seed, lessons=lessons)


@cache
def _scenes(split: Split, seed: int, count: int) -> SceneSet:
    return draw_scenes(count, seed=seed, split=split)
