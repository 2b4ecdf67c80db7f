"""One training run of the small world with or without captions; killed and started again, it goes
on. Both see the same scenes, boxes and names: the captions tell nothing that those do not."""

import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from opendet.bench.arms import PARTS, TRAINING, Arm, arm
from opendet.bench.caption_world import GRID, LONGEST, captioned, teach_writer
from opendet.bench.harness import code_of
from opendet.bench.judging import judge
from opendet.bench.language import teach_language
from opendet.bench.looking import teach_backbone
from opendet.bench.synthetic import NAMES, SIDE, TIERS, SceneBatches, draw_scenes
from opendet.bench.trial import TEXTS
from opendet.model.captioner import Captioner
from opendet.model.detector import OpenDetector
from opendet.model.image_tokens import Grid
from opendet.train import checkpoint
from opendet.train.distributed import Ranks
from opendet.train.llmdet_config import LlmdetConfig
from opendet.train.llmdet_objective import LlmdetObjective
from opendet.train.loop import train_steps
from opendet.train.metrics_log import Series
from opendet.train.objective import Objective
from opendet.train.randomness import reproducible
from opendet.train.state import TrainingState
from opendet.train.text_vectors import TextVectors
from opendet.train.training_step import TrainingStep
from opendet.train.weights import load_tensors

STRIDE = SIDE // GRID
"""Of the map that captions are read from: a cell of a caption is a cell of the map."""


@dataclass(frozen=True, slots=True)
class CaptionTrial:
    """What decides a run."""

    caption_weight: float
    """Of the image-level objective; 0 is the detector without it."""
    seed: int
    """Of the scenes, their order, the weights and the noise."""
    steps: int = 600
    batch_size: int = 12
    train_scenes: int = 4096
    test_scenes: int = 256
    word_lessons: int = 400
    """Steps of the namer's own training, before."""
    sight_lessons: int = 1000
    """Of the backbone's."""
    writer_lessons: int = 600
    """Of the language model's that reads the features."""

    @property
    def title(self) -> str:
        return f"captions with weight {self.caption_weight:g}, seed {self.seed}"

    def settings(self) -> dict[str, Any]:
        """What decides the result, as JSON has it."""
        own = arm(PARTS)
        sections = (own.detector, own.namer, own.objective, TRAINING, _llmdet(self))
        deciding = {
            type(one).__name__: one.model_dump(mode="json", exclude_unset=True) for one in sections
        }
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self) | deciding))
        return plain


def run_caption_trial(trial: CaptionTrial, folder: Path, device: str = "cpu") -> dict[str, Any]:
    """Train and judge, or go on with it, in `folder`, which is gone in the end."""
    ranks = Ranks(torch.device(device))
    with reproducible(ranks.device, threads=1):
        state, step = _begin(trial, folder, ranks.device)
        series = Series(folder / "series.csv", start=state.step, config=state.config, ranks=ranks)
        begun, start = state.step, time.process_time()
        train_steps(
            state,
            step,
            state.config,
            ranks=ranks,
            series=series,
            checkpoints=folder / "checkpoints",
            hooks=step.objective,
        )
        pace = (time.process_time() - start) / max(1, state.step - begun)
        series.close()
        load_tensors(state.detector, state.ema.tensors, what="the average of the weights")
        assert isinstance(state.detector, OpenDetector)
        test = draw_scenes(trial.test_scenes, seed=trial.seed, split="test")
        said = judge(state.detector, test, TEXTS.encode_texts, by="name")
    shutil.rmtree(folder)
    return {
        **{name: round(value, 4) for name, value in said.items()},
        "caption_loss": round(series.rows[-1].get("image_caption", 0.0), 4),
        "cpu_seconds": round(pace * trial.steps, 1),
        "code": code_of(__name__),
    }


def _begin(
    trial: CaptionTrial, folder: Path, device: torch.device
) -> tuple[TrainingState, TrainingStep]:
    """Where the run stands: at its last checkpoint, else at step 0."""
    own = arm(PARTS)
    namer = teach_language(NAMES, own.namer, seed=trial.seed, lessons=trial.word_lessons)
    seen = teach_backbone(own.detector.backbone, seed=trial.seed, lessons=trial.sight_lessons)
    torch.manual_seed(trial.seed)
    detector = OpenDetector(own.detector, namer)
    detector.backbone.load_state_dict(seen)
    further = _captions(trial, detector, own, device)
    scenes = captioned(draw_scenes(trial.train_scenes, seed=trial.seed, split="train"))
    training = TRAINING.model_copy(update={"steps": trial.steps, "seed": trial.seed})
    state = TrainingState(
        detector.to(device),
        SceneBatches(scenes, batch_size=trial.batch_size, seed=trial.seed),
        trial.settings(),
        training,
    )
    if last := checkpoint.load_latest(folder / "checkpoints"):
        state.restore(last)
    taught = tuple(name for name, tier in TIERS.items() if tier != "unseen")
    text = TextVectors(taught, torch.from_numpy(TEXTS.encode_texts(taught))).to(device)
    return state, TrainingStep(detector, Objective(own.objective, text, further))


def _captions(
    trial: CaptionTrial, detector: OpenDetector, own: Arm, device: torch.device
) -> tuple[LlmdetObjective, ...]:
    """The image-level objective, by a language model that is frozen."""
    if not trial.caption_weight:
        return ()
    writer = teach_writer(seed=trial.seed, lessons=trial.writer_lessons)
    writer.to(device)
    level = own.detector.backbone.strides.index(STRIDE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        captioner = Captioner(writer, own.detector, grids=(Grid(level, GRID),), look_backs=None)
    detector.captioner = captioner
    return (LlmdetObjective(captioner, _llmdet(trial)),)


def _llmdet(trial: CaptionTrial) -> LlmdetConfig:
    return LlmdetConfig(
        image_weight=trial.caption_weight,
        region_weight=0,
        grids={STRIDE: GRID},
        max_tokens=GRID**2 + 64 + LONGEST,
    )
