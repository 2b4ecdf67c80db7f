"""A student that learns from an imperfect annotator's labels, as OWL-ST's does, and is judged.

`aligned_training` says what it is.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from opendet.bench.aligned_training import (
    HELD_OUT,
    TEXTS,
    begin_training,
    objective_config,
    training_config,
    with_sections,
)
from opendet.bench.harness import code_of
from opendet.bench.imperfect import Errors, Thresholds, annotate, kept, labelled
from opendet.bench.synthetic import NAMES, SceneSet, draw_scenes
from opendet.boxes import to_record
from opendet.evaluation.ap import Predictions, Truth, average_precision
from opendet.evaluation.match import match_boxes
from opendet.model.detector import OpenDetector
from opendet.train.distributed import Ranks
from opendet.train.loop import train_steps
from opendet.train.metrics_log import Series
from opendet.train.objective import Objective
from opendet.train.randomness import reproducible
from opendet.train.state import TrainingState
from opendet.train.training_step import TrainingStep
from opendet.train.weights import load_tensors

# C classes, the world's names

IMAGES_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Lesson:
    """What decides a student."""

    thresholds: Thresholds
    seed: int
    errors: Errors = field(default_factory=Errors)
    steps: int = 600
    batch_size: int = 12
    train_scenes: int = 4096
    test_scenes: int = 256

    @property
    def title(self) -> str:
        return f"labels from {self.thresholds.box:g}, seed {self.seed}"

    def settings(self) -> dict[str, Any]:
        """What decides the result, as JSON has it."""
        return with_sections(asdict(self))


def teach_student(lesson: Lesson, folder: Path, device: str = "cpu") -> dict[str, Any]:
    """Label, train and judge, or go on with it, in `folder`, which is gone in the end."""
    ranks = Ranks(torch.device(device))
    seed = lesson.seed
    scenes = draw_scenes(lesson.train_scenes, seed=seed, split="test")
    said = annotate(scenes, lesson.errors, seed=seed)
    labels = labelled(scenes, said, lesson.thresholds)
    with reproducible(ranks.device, threads=1):
        state, step = _begin(lesson, labels, folder, ranks.device)
        config = state.config
        series = Series(folder / "series.csv", start=state.step, config=config, ranks=ranks)
        begun, start = state.step, time.process_time()
        checkpoints = folder / "checkpoints"
        train_steps(state, step, config, ranks=ranks, series=series, checkpoints=checkpoints)
        pace = (time.process_time() - start) / max(1, state.step - begun)
        series.close()
        held_out = draw_scenes(lesson.test_scenes, seed=seed + HELD_OUT, split="test")
        load_tensors(state.detector, state.ema.tensors, what="the average of the weights")
        assert isinstance(state.detector, OpenDetector)
        student = score_of(held_out, _detect(state.detector, held_out))
    shutil.rmtree(folder)
    return {
        "annotator": score_of(held_out, annotate(held_out, lesson.errors, seed=seed + HELD_OUT)),
        "student": student,
        "labels": _worth(scenes, said, lesson.thresholds),
        "cpu_seconds": round(pace * lesson.steps, 1),
        "code": code_of(__name__),
    }


def _begin(
    lesson: Lesson, labels: SceneSet, folder: Path, device: torch.device
) -> tuple[TrainingState, TrainingStep]:
    """Where the run stands: at its last checkpoint, else at step 0."""
    state, text = begin_training(
        labels,
        folder,
        training_config(steps=lesson.steps, seed=lesson.seed),
        batch_size=lesson.batch_size,
        settings=lesson.settings(),
        device=device,
    )
    assert isinstance(state.detector, OpenDetector)
    return state, TrainingStep(state.detector, Objective(objective_config(), text))


def _detect(detector: OpenDetector, scenes: SceneSet) -> list[Predictions]:
    """Every query's box by the name that the last aligner prefers."""
    detector.eval()
    device = next(detector.parameters()).device
    classes = torch.from_numpy(TEXTS.encode_texts(NAMES)).to(device)  # (C, D_t)
    side = scenes.images.shape[-1]
    found = []
    for start in range(0, len(scenes), IMAGES_AT_ONCE):
        batch = scenes.batch(range(start, min(start + IMAGES_AT_ONCE, len(scenes)))).to(device)
        with torch.inference_mode():
            output = detector(batch.images, batch.sizes_hw)
            texts = classes.expand(len(batch.keys), -1, -1)
            kinds = detector.aligners[-1](output.queries, texts).argmax(2)  # (B, Q)
        scores = output.scores()
        for image, valid in enumerate(output.valid):
            boxes = to_record(output.boxes_cxcywh[image, valid], width=side, height=side)
            found.append(
                Predictions(
                    boxes.cpu().double().numpy(),
                    scores[image, valid].cpu().double().numpy(),
                    kinds[image, valid].cpu().numpy(),
                )
            )
    return found


def score_of(scenes: SceneSet, found: Sequence[Predictions]) -> dict[str, float]:
    truths = [_truth(scenes, row) for row in range(len(scenes))]
    result = average_precision(truths, found, classes=len(NAMES))
    return {"ap50": round(100 * result.ap50(), 3), "ap": round(100 * result.ap(), 3)}


def _truth(scenes: SceneSet, row: int) -> Truth:
    classes = np.array([NAMES.index(name) for name in scenes.names[row]], np.int64)
    boxes = scenes.boxes_xyxy[row].astype(np.float64)
    return Truth(str(row), boxes, classes, np.zeros(len(classes), np.bool_))


def _worth(
    scenes: SceneSet, said: Sequence[Predictions], thresholds: Thresholds
) -> dict[str, float]:
    """How many labels there are, and how many of them are true."""
    labels = {row: sure for row, one in enumerate(said) if (sure := kept(one, thresholds))}
    boxes = sum(len(sure.classes) for sure in labels.values())
    right = 0
    for row, sure in labels.items():
        truth = _truth(scenes, row)
        pairs = match_boxes(truth, sure.boxes_xyxy, 0.5)
        right += sum(int(sure.classes[label] == truth.classes[number]) for label, number in pairs)
    return {
        "images": len(labels),
        "boxes": round(boxes / max(1, len(labels)), 2),
        "right": round(100 * right / max(1, boxes), 2),
    }
