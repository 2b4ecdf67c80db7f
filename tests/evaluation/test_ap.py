"""AP is pycocotools' AP to the last bit, and what it ignores it ignores."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from opendet.evaluation.ap import (
    IOU_THRESHOLDS,
    AveragePrecision,
    Predictions,
    Truth,
    average_precision,
    class_agnostic,
    coco_results,
    coco_truth,
    keep_best_per_class,
)

CLASSES = 4


def random_set(seed: int) -> tuple[list[Truth], list[Predictions]]:
    """Images without objects, without detections, crowds, equal scores, near misses, twins."""
    rng = np.random.default_rng(seed)
    truths, predictions = [], []
    for number in range(rng.integers(1, 9)):
        objects = int(rng.integers(0, 7)) * int(rng.random() > 0.2)
        low = rng.integers(0, 100, (objects, 2)).astype(float)
        boxes_xyxy = np.concatenate((low, low + rng.integers(1, 60, (objects, 2))), 1)
        classes = rng.integers(0, CLASSES, objects)
        truths.append(Truth(f"image-{number}", boxes_xyxy, classes, rng.random(objects) < 0.2))
        predictions.append(_noisy(rng, boxes_xyxy, classes))
    return truths, predictions


def _noisy(rng: np.random.Generator, boxes_xyxy: Any, classes: Any) -> Predictions:
    count = int(rng.integers(0, 12)) * int(rng.random() > 0.2)
    low = rng.integers(0, 100, (count, 2)).astype(float)
    found_xyxy = np.concatenate((low, low + rng.integers(1, 60, (count, 2))), 1)
    found = rng.integers(0, CLASSES, count)
    if len(boxes_xyxy) and count:
        copied = rng.integers(0, len(boxes_xyxy), count)
        copy = rng.random(count) < 0.7
        shift = rng.integers(-6, 7, (count, 4))
        found_xyxy[copy] = boxes_xyxy[copied][copy] + shift[copy]
        found_xyxy[:, 2:] = np.maximum(found_xyxy[:, 2:], found_xyxy[:, :2] + 1)
        found[copy] = classes[copied][copy]
    return Predictions(found_xyxy, rng.integers(0, 5, count) / 4, found)


def reference(truths: list[Truth], predictions: list[Predictions], classes: int) -> np.ndarray:
    results = coco_results(predictions)
    if not results:  # pycocotools refuses an empty list; nothing found is AP 0 where truth is.
        seen = {
            int(c) for one in truths for c, k in zip(one.classes, one.crowd, strict=True) if not k
        }
        rows = [[0.0 if c in seen else np.nan] * len(IOU_THRESHOLDS) for c in range(classes)]
        return np.array(rows)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = coco_truth(truths, classes)
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, -1]
    return np.where(precision > -1, precision, np.nan).mean(1).T


def assert_parity(seeds: range) -> None:
    scored = 0
    for seed in seeds:
        truths, predictions = random_set(seed)
        for own, classes in ((truths, CLASSES), ([class_agnostic(one) for one in truths], 1)):
            found = predictions if classes > 1 else [_one_class(one) for one in predictions]
            ours = average_precision(own, found, classes=classes).per_class
            theirs = reference(own, found, classes)
            np.testing.assert_array_equal(_rounded(ours), _rounded(theirs), err_msg=f"seed {seed}")
            scored += int(np.nansum(ours) > 0)
    assert scored > len(seeds) / 2  # A set of nothing but zeros would prove nothing.


def _rounded(values: np.ndarray) -> np.ndarray:
    """To 12 decimals: pycocotools adds 2.2e-16 to the denominator of a precision, the faster one
    does not, so that a perfect precision is 0.9999999999999998 there and 1 here."""
    return np.round(values, 12)


def _one_class(one: Predictions) -> Predictions:
    return Predictions(one.boxes_xyxy, one.scores, np.zeros(len(one.scores), np.int64))


def test_equals_pycocotools_on_random_sets() -> None:
    assert_parity(range(20))


@pytest.mark.slow
def test_equals_pycocotools_on_a_thousand_random_sets() -> None:
    assert_parity(range(1000))


def test_equals_pycocotools_on_its_own_published_results(shared_data: Path) -> None:
    folder = shared_data / "coco_eval"
    truth = json.loads((folder / "instances_val2014_100.json").read_text())
    found = json.loads((folder / "instances_val2014_fakebbox100_results.json").read_text())
    expected = json.loads((folder / "expected_pycocotools.json").read_text())
    numbers = {one["id"]: number for number, one in enumerate(truth["categories"])}
    images = sorted(one["id"] for one in truth["images"])  # COCO's order decides between ties.
    truths = [_coco_truth_of(image, truth["annotations"], numbers) for image in images]
    predictions = [_coco_found_in(image, found, numbers) for image in images]
    result = average_precision(truths, predictions, classes=len(numbers))
    assert result.ap() == pytest.approx(expected["bbox"]["AP"], abs=1e-12)
    assert result.ap50() == pytest.approx(expected["bbox"]["AP50"], abs=1e-12)
    assert result.ap75() == pytest.approx(expected["bbox"]["AP75"], abs=1e-12)
    for name, number in [(one["name"], numbers[one["id"]]) for one in truth["categories"]]:
        value = expected["bbox_per_class"][name]
        assert result.ap([number]) == pytest.approx(
            np.nan if value is None else value, abs=1e-12, nan_ok=True
        )


def _coco_truth_of(image: int, annotations: Any, numbers: dict[int, int]) -> Truth:
    own = [one for one in annotations if one["image_id"] == image]
    return Truth(
        str(image),
        _xyxy([one["bbox"] for one in own]),
        np.array([numbers[one["category_id"]] for one in own], np.int64),
        np.array([bool(one["iscrowd"]) for one in own], np.bool_),
    )


def _coco_found_in(image: int, found: Any, numbers: dict[int, int]) -> Predictions:
    own = [one for one in found if one["image_id"] == image]
    return Predictions(
        _xyxy([one["bbox"] for one in own]),
        np.array([one["score"] for one in own], np.float64),
        np.array([numbers[one["category_id"]] for one in own], np.int64),
    )


def _xyxy(boxes_xywh: list[list[float]]) -> Any:
    boxes = np.array(boxes_xywh, np.float64).reshape(-1, 4)
    return np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), 1)


def test_perfect_is_one_and_nothing_is_zero() -> None:
    truth = Truth("a", np.array([[0, 0, 9, 9.0]]), np.array([0]), np.array([False]))
    perfect = Predictions(truth.boxes_xyxy, np.array([0.9]), truth.classes)
    assert average_precision([truth], [perfect], classes=1).ap() == 1.0
    assert average_precision([truth], [Predictions()], classes=1).ap() == 0.0


def test_without_truth_there_is_no_number() -> None:
    result = average_precision([Truth("a")], [Predictions()], classes=2)
    assert np.isnan(result.ap())
    assert np.isnan(average_precision([], [], classes=2).ap50())


def test_a_detection_in_a_crowd_costs_nothing() -> None:
    boxes_xyxy = np.array([[0, 0, 10, 10.0], [50, 50, 100, 100]])
    truth = Truth("a", boxes_xyxy, np.array([0, 0]), np.array([False, True]))
    in_crowd = Predictions(
        np.array([[60, 60, 70, 70.0], [0, 0, 10, 10]]), np.array([0.9, 0.8]), np.array([0, 0])
    )
    elsewhere = Predictions(
        in_crowd.boxes_xyxy - [200, 0, 200, 0], in_crowd.scores, np.array([0, 0])
    )
    assert average_precision([truth], [in_crowd], classes=1).ap50() == 1.0
    assert average_precision([truth], [elsewhere], classes=1).ap50() == 0.0


def test_groups_are_means_over_their_classes() -> None:
    rows = np.array([[0.2] * 10, [0.6] * 10, [np.nan] * 10])
    result = AveragePrecision(rows)
    assert result.ap50() == pytest.approx(0.4)
    assert result.ap75([1, 2]) == pytest.approx(0.6)
    assert np.isnan(result.ap([2]))
    assert np.isnan(result.ap([]))


def test_best_per_class_over_all_images() -> None:
    boxes_xyxy = np.zeros((3, 4))
    predictions = [
        Predictions(boxes_xyxy, np.array([0.1, 0.9, 0.5]), np.array([0, 0, 1])),
        Predictions(),
        Predictions(boxes_xyxy, np.array([0.8, 0.2, 0.7]), np.array([0, 1, 1])),
    ]
    kept = keep_best_per_class(predictions, 2)
    assert [one.scores.tolist() for one in kept] == [[0.9, 0.5], [], [0.8, 0.7]]
    unlimited = keep_best_per_class(predictions, 9)
    assert [one.scores.tolist() for one in unlimited] == [
        one.scores.tolist() for one in predictions
    ]
