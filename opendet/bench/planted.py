"""The small world with wrong names planted, a filter that finds some, and a detector that learns.

The filter stands for CLIP: it refuses wrong and right names by chances of their own. What it lets
pass is trained on, as the trainer does, without a language model; what training says of names
refuses more, by the rules of the label-value loop, and the next training begins anew.
"""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from opendet.bench.aligned_training import (
    HELD_OUT,
    TEXTS,
    begin_training,
    objective_config,
    training_config,
    with_sections,
)
from opendet.bench.harness import code_of
from opendet.bench.judging import judge
from opendet.bench.synthetic import NAMES, SceneSet, draw_scenes
from opendet.curate.label_value import LabelValueConfig, judge_rounds
from opendet.data.batch import Batch, RegionRef
from opendet.files import write_json_durably
from opendet.model.detector import OpenDetector
from opendet.train.distributed import Ranks
from opendet.train.loop import train_steps
from opendet.train.metrics_log import Series
from opendet.train.objective import Objective
from opendet.train.randomness import reproducible
from opendet.train.signals import SignalRecorder, sum_up
from opendet.train.training_step import TrainingStep
from opendet.train.weights import load_tensors

# N objects of all scenes, scene by scene

PLANTED = 0.4
"""Share of the names that are wrong: half of those have one word swapped, the others both."""
CAUGHT = 0.6
"""Share of the wrong names that the filter refuses."""
LOST = 0.05
"""Share of the right names that it refuses."""

RULES = LabelValueConfig(min_agreement=0.0)
"""Of the loop."""


@dataclass(frozen=True, slots=True)
class Label:
    """What an annotator called an object."""

    name: str
    refused: bool = False
    """Nothing is learned from the name, but that it may be there; from its box still is."""


Labels = tuple[tuple[Label, ...], ...]
"""Of each scene, of each of its objects."""


@dataclass(frozen=True, slots=True)
class Course:
    """What decides a run: one training, or several with rounds of the loop between them."""

    filtered: bool
    rounds: int
    seed: int
    planted: float = PLANTED
    """Share of the names that are wrong."""
    rules: LabelValueConfig = RULES
    steps: int = 600
    batch_size: int = 12
    train_scenes: int = 768
    test_scenes: int = 256

    @property
    def title(self) -> str:
        data = "filtered" if self.filtered else "raw"
        return f"{data}, rounds {self.rounds}, seed {self.seed}"

    def settings(self) -> dict[str, Any]:
        """What decides the result, as JSON has it."""
        told = {**asdict(self), "rules": self.rules.model_dump(mode="json")}
        return with_sections({**told, "caught": CAUGHT, "lost": LOST})


@dataclass(frozen=True)
class Labelled(SceneSet):
    """Scenes with the names that training is told."""

    labels: Labels = ()

    def batch(self, rows: Sequence[int]) -> Batch:
        plain = super().batch(rows)
        targets = tuple(
            replace(
                target,
                names=tuple(() if one.refused else (one.name,) for one in self.labels[row]),
                partial=tuple({one.name: 0 for one in self.labels[row] if one.refused}),
                regions=tuple(RegionRef(str(row), place) for place in range(len(target.names))),
            )
            for row, target in zip(rows, plain.targets, strict=True)
        )
        return replace(plain, targets=targets)

    def told(self) -> list[tuple[int, int, str, str]]:
        """Scene, place, label and true name of each object that is not refused."""
        return [
            (row, place, label.name, name)
            for row, (labels, names) in enumerate(zip(self.labels, self.names, strict=True))
            for place, (label, name) in enumerate(zip(labels, names, strict=True))
            if not label.refused
        ]


def run_course(course: Course, folder: Path, device: str = "cpu") -> dict[str, Any]:
    """Train, judge and refuse, or go on with it, in `folder`, which is gone in the end.

    Returns `trainings`, in their order: `ap` (with names) and `agnostic_ap` (`judge`), `labels`
    (how many names were told) and `wrong` (percent of them); of what was then refused `against`
    (how many), `precision`, `recall` and `separation` (percent: how often a right name has more
    agreement than a wrong one); and `cpu_seconds` of all, and `code`.
    """
    scenes = draw_scenes(course.train_scenes, seed=course.seed, split="test")
    labels = plant(scenes, course)
    done: list[dict[str, Any]] = []
    with reproducible(torch.device(device), threads=1):
        for number in range(course.rounds + 1):
            place = folder / str(number)
            taught = Labelled(**_fields(scenes), labels=labels)
            learned = _learned(course, taught, place, device)
            labels, said = refuse(taught, place / "signals.parquet", course.rules)
            done.append({**learned, **_worth(taught), **said})
    shutil.rmtree(folder)
    seconds = round(sum(one.pop("cpu_seconds") for one in done), 1)
    return {"trainings": done, "cpu_seconds": seconds, "code": code_of(__name__)}


def plant(scenes: SceneSet, course: Course) -> Labels:
    """The names that an annotator wrote, and which of them the filter refuses."""
    rng = np.random.default_rng([course.seed, 7])
    return tuple(tuple(_written(name, course, rng) for name in names) for names in scenes.names)


def refuse(
    scenes: Labelled, signals: Path, rules: LabelValueConfig
) -> tuple[Labels, dict[str, float]]:
    """The labels, those refused too that training spoke against, and how right it was."""
    table = pq.read_table(signals)
    value = judge_rounds([table], rules)
    refused = {(int(key), place) for (key, place), (_, reason) in value.said.items() if reason}
    labels = tuple(
        tuple(
            replace(label, refused=label.refused or (row, place) in refused)
            for place, label in enumerate(own)
        )
        for row, own in enumerate(scenes.labels)
    )
    wrong = {(row, place) for row, place, label, name in scenes.told() if label != name}
    caught = len(refused & wrong)
    measured = zip(
        *(table[name].to_pylist() for name in ("key", "region", "agreement")), strict=True
    )
    heard = {(int(key), place): value for key, place, value in measured if value is not None}
    said = {
        "against": len(refused),
        "precision": round(100 * caught / max(1, len(refused)), 2),
        "recall": round(100 * caught / max(1, len(wrong)), 2),
        "separation": round(100 * _separation(heard, wrong), 2),
    }
    return labels, said


def _written(name: str, course: Course, rng: np.random.Generator) -> Label:
    wrong, near, other, refused = rng.random(4)
    if wrong >= course.planted:
        return Label(name, refused=course.filtered and refused < LOST)
    words = set(name.split())
    shared = 1 if near < 0.5 else 0  # words that the two have in common
    rivals = [one for one in NAMES if len(words & set(one.split())) == shared]
    return Label(rivals[int(other * len(rivals))], course.filtered and refused < CAUGHT)


def _separation(heard: dict[tuple[int, int], float], wrong: set[tuple[int, int]]) -> float:
    """How often a right name has more agreement than a wrong one, in [0, 1]."""
    rights = np.sort([value for place, value in heard.items() if place not in wrong])
    wrongs = np.array([value for place, value in heard.items() if place in wrong])
    if not len(rights) or not len(wrongs):
        return 0.5
    below = np.searchsorted(rights, wrongs, side="right")  # rights that are not more
    above: NDArray[np.float64] = 1 - below / len(rights)
    return float(above.mean())


def _worth(scenes: Labelled) -> dict[str, float]:
    told = scenes.told()
    wrong = sum(label != name for _, _, label, name in told)
    return {"labels": len(told), "wrong": round(100 * wrong / max(1, len(told)), 2)}


def _learned(course: Course, scenes: Labelled, folder: Path, device: str) -> dict[str, float]:
    """What a training on these labels comes to; its signals lie in the folder then."""
    kept = folder / "learned.json"
    if kept.is_file():
        known: dict[str, float] = json.loads(kept.read_text())
        return known
    ranks = Ranks(torch.device(device))
    config = training_config(steps=course.steps, seed=course.seed)
    state, text = begin_training(
        scenes,
        folder,
        config,
        batch_size=course.batch_size,
        settings=course.settings(),
        device=ranks.device,
    )
    assert isinstance(state.detector, OpenDetector)
    recorder = SignalRecorder(
        folder / "signals",
        start=state.step,
        config=config,
        ranks=ranks,
        same=objective_config().align_threshold,
    )
    objective = Objective(objective_config(), text, (recorder,))
    series = Series(folder / "series.csv", start=state.step, config=config, ranks=ranks)
    begun, start = state.step, time.process_time()
    train_steps(
        state,
        TrainingStep(state.detector, objective),
        config,
        ranks=ranks,
        series=series,
        checkpoints=folder / "checkpoints",
        hooks=objective,
    )
    pace = (time.process_time() - start) / max(1, state.step - begun)
    series.close()
    sum_up(folder / "signals", folder / "signals.parquet")
    load_tensors(state.detector, state.ema.tensors, what="the average of the weights")
    held_out = draw_scenes(course.test_scenes, seed=course.seed + HELD_OUT, split="test")
    scores = judge(state.detector, held_out, TEXTS.encode_texts, by="alignment")
    learned = {name: round(scores[name], 3) for name in ("ap", "agnostic_ap")}
    learned["cpu_seconds"] = pace * course.steps
    write_json_durably(kept, learned)
    return learned


def _fields(scenes: SceneSet) -> dict[str, Any]:
    return {name: getattr(scenes, name) for name in ("split", "images", "boxes_xyxy", "names")}
