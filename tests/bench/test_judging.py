"""The judge: a perfect answer is perfect, and only what is wrong costs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from opendet.annotators.hash_text import HashTextEncoder
from opendet.bench.arms import TEXT_WIDTH, arm
from opendet.bench.judging import Found, judge, judge_found
from opendet.bench.language import teach_language
from opendet.bench.synthetic import NAMES, TIERS, SceneSet, draw_scenes
from opendet.evaluation.ap import Predictions
from opendet.model.detector import OpenDetector

TEXTS = HashTextEncoder(TEXT_WIDTH)


@pytest.fixture(scope="module")
def scenes() -> SceneSet:
    return draw_scenes(40, seed=0, split="test")


def perfect(scenes: SceneSet) -> list[Found]:
    found = []
    for boxes, names in zip(scenes.boxes_xyxy, scenes.names, strict=True):
        classes = np.array([NAMES.index(name) for name in names])
        predictions = Predictions(boxes.astype(float), np.linspace(0.9, 0.5, len(boxes)), classes)
        prompts = torch.from_numpy(TEXTS.encode_texts(names))
        found.append(Found(predictions, prompts, -prompts))
    return found


def test_the_truth_is_a_perfect_answer(scenes: SceneSet) -> None:
    said = judge_found(scenes, perfect(scenes), TEXTS.encode_texts)
    cosines = {name: said.pop(name) for name in ("cosine", "cosine_out_of_context")}
    assert said == pytest.approx(dict.fromkeys(said, 100.0))
    assert cosines == pytest.approx({"cosine": 1, "cosine_out_of_context": -1})


def test_wrong_names_of_one_tier_cost_that_tier_and_no_box(scenes: SceneSet) -> None:
    rare = [number for number, tier in enumerate(TIERS.values()) if tier == "rare"]
    wrong = []
    for one in perfect(scenes):
        classes = one.predictions.classes.copy()
        classes[np.isin(classes, rare)] = NAMES.index("red circle")
        wrong.append(replace(one, predictions=replace(one.predictions, classes=classes)))
    said = judge_found(scenes, wrong, TEXTS.encode_texts)
    assert (said["right_rare"], said["right_unseen"]) == (0, 100)
    assert said["ap_rare"] == 0
    assert said["ap_unseen"] == pytest.approx(100)
    assert said["agnostic_ap75"] == pytest.approx(100)


def test_boxes_that_are_a_little_off_cost_ap75_alone(scenes: SceneSet) -> None:
    moved = []
    for one in perfect(scenes):
        boxes = one.predictions.boxes_xyxy
        sides = boxes[:, 2:] - boxes[:, :2]
        shifted = boxes + 0.1 * np.concatenate((sides, sides), 1)  # IoU .81 / 1.19
        moved.append(replace(one, predictions=replace(one.predictions, boxes_xyxy=shifted)))
    said = judge_found(scenes, moved, TEXTS.encode_texts)
    assert said["agnostic_ap50"] > 99
    assert said["agnostic_ap75"] < 5
    assert said["ap"] == pytest.approx(50, abs=3)
    assert said["right_frequent"] > 99


@pytest.mark.parametrize("by", ["name", "alignment"])
def test_an_untrained_detector_is_judged_too(scenes: SceneSet, by: str) -> None:
    own = arm(("BVLA-M",))
    torch.manual_seed(0)
    detector = OpenDetector(own.detector, teach_language(NAMES, own.namer, seed=0, lessons=1))
    few = draw_scenes(3, seed=0, split="test")
    said = judge(detector, few, TEXTS.encode_texts, by=by)  # type: ignore[arg-type]
    assert said["agnostic_ap75"] < 20
    assert ("cosine" in said) == (by == "name")
