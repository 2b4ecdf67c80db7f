"""AP is pycocotools' AP to the last bit, and what it ignores it ignores."""

from typing import Any

import numpy as np
import pytest

from opendet.evaluation.ap import (
    AveragePrecision,
    Predictions,
    Truth,
    average_precision,
    class_agnostic,
    table_of_found,
    table_of_truth,
)
from opendet.evaluation.counting import SIZES, Counts, coco_results, coco_truth, count
from opendet.evaluation.tables import FoundObjects
from tests.evaluation.official_world import assert_same, pycocotools_of

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


def assert_parity(seeds: range) -> None:
    """Every class, threshold, recall point, size and limit, not only the means."""
    scored = 0
    for seed in seeds:
        truths, predictions = random_set(seed)
        for own, classes in ((truths, CLASSES), ([class_agnostic(one) for one in truths], 1)):
            found = predictions if classes > 1 else [_one_class(one) for one in predictions]
            images = len(own)
            truth, table = table_of_truth(own), table_of_found(found)
            ours = count(truth, table, images=images, categories=classes)
            known = coco_truth(truth, np.arange(images), np.arange(classes))
            assert_same(ours, pycocotools_of(known, coco_results(table), "bbox"), f"seed {seed}")
            scored += int(ours.precision.max() > 0)
    assert scored > len(seeds) / 2  # A set of nothing but zeros would prove nothing.


def _one_class(one: Predictions) -> Predictions:
    return Predictions(one.boxes_xyxy, one.scores, np.zeros(len(one.scores), np.int64))


def test_equals_pycocotools_on_random_sets() -> None:
    assert_parity(range(100))


@pytest.mark.slow
def test_equals_pycocotools_on_a_thousand_random_sets() -> None:
    assert_parity(range(1000))


def test_groups_of_categories_and_idle_images_change_no_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truths, predictions = random_set(5)
    truth, found = table_of_truth(truths), table_of_found(predictions)
    whole = count(truth, found, images=len(truths), categories=CLASSES)
    monkeypatch.setattr("opendet.evaluation.counting._PAIRS_AT_ONCE", 1)
    pieces = count(truth, found, images=len(truths), categories=CLASSES)
    np.testing.assert_array_equal(whole.precision, pieces.precision)
    np.testing.assert_array_equal(whole.recall, pieces.recall)


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
    precision = np.full((10, 101, 3, 1), -1.0)
    precision[..., 0, 0], precision[..., 1, 0] = 0.2, 0.6
    counts = Counts(precision, np.full((10, 3, 1, 1), -1.0), ("all",), (100,))
    result = AveragePrecision(counts)
    assert result.ap50() == pytest.approx(0.4)
    assert result.ap75([1, 2]) == pytest.approx(0.6)
    assert np.isnan(result.ap([2]))
    assert np.isnan(result.ap([]))
    assert np.isnan(result.ar(100))


def test_recall_by_limit_and_by_size() -> None:
    boxes_xyxy = np.array([[0, 0, 10, 10], [20, 0, 60, 40], [100, 0, 300, 200.0]])
    truth = Truth("a", boxes_xyxy, np.zeros(3, np.int64), np.zeros(3, np.bool_))
    found = Predictions(boxes_xyxy[:2], np.array([0.9, 0.8]), np.zeros(2, np.int64))
    result = average_precision([truth], [found], classes=1, recall_at=(1,), sizes=tuple(SIZES))
    assert result.ar(1) == pytest.approx(1 / 3)
    assert result.ar(100) == pytest.approx(2 / 3)
    sizes = ("small", "medium", "large")
    assert [result.ar(100, size=size) for size in sizes] == [1, 1, 0]
    assert [result.ap(size=size) for size in sizes] == [1, 1, 0]


def test_best_per_category_over_all_images() -> None:
    images, categories = np.array([0, 0, 0, 2, 2, 2]), np.array([0, 0, 1, 0, 1, 1])
    scores = np.array([0.1, 0.9, 0.5, 0.8, 0.2, 0.7])
    found = FoundObjects(images, categories, np.zeros((6, 4)), scores)
    assert found.best_per_category(2).scores.tolist() == [0.9, 0.5, 0.8, 0.7]
    assert found.best_per_category(9).scores.tolist() == scores.tolist()
    tied = FoundObjects(
        images[:3], np.zeros(3, np.int64), np.arange(12.0).reshape(3, 4), np.ones(3)
    )
    assert tied.best_per_category(1).boxes_xywh[:, 0].tolist() == [0]
