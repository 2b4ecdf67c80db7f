"""The evaluator beside pycocotools, on random sets."""

# M objects of an image, N detections

import contextlib
import io
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opendet.evaluation.ap import Predictions, Truth, table_of_found, table_of_truth
from opendet.evaluation.counting import coco_results, coco_truth, count
from opendet.faults.rows import Effort, Shown, Tally

CLASSES = 4
DECIMALS = 12
"""Theirs adds 2e-16 to a precision's denominator."""
_WITHOUT = "pycocotools is not installed: pip install pycocotools"


def random_sets(effort: Effort) -> Shown:
    """Every class, threshold, recall point, size and limit of both, not only the means."""
    if find_spec("pycocotools") is None:
        return Shown(0, 0, "", unmeasured=_WITHOUT)
    tally, worst, scored = Tally(), 0.0, 0
    for seed in effort.tries(1000):
        truths, found = random_set(seed)
        truth, table = table_of_truth(truths), table_of_found(found)
        ours = count(truth, table, images=len(truths), categories=CLASSES)
        known = coco_truth(truth, np.arange(len(truths)), np.arange(CLASSES))
        precision, recall = pycocotools_of(known, coco_results(table))
        pairs = ((ours.precision, precision[..., -1]), (ours.recall, recall))
        largest = max(float(np.abs(one - other).max(initial=0)) for one, other in pairs)
        largest = round(largest, DECIMALS)
        worst, scored = max(worst, largest), scored + int(ours.precision.max(initial=0) > 0)
        tally.add(f"set {seed}: differs by {largest:g}" if largest else "")
    return tally.shown(f"largest difference {worst:g}; {scored} sets with an AP above 0")


def random_set(seed: int) -> tuple[list[Truth], list[Predictions]]:
    """Images without objects, without detections, crowds, equal scores, near misses, twins."""
    rng = np.random.default_rng(seed)
    truths, predictions = [], []
    for number in range(rng.integers(1, 9)):
        objects = int(rng.integers(0, 7)) * int(rng.random() > 0.2)
        boxes_xyxy, classes = _boxes(rng, objects), rng.integers(0, CLASSES, objects)
        truths.append(Truth(f"image-{number}", boxes_xyxy, classes, rng.random(objects) < 0.2))
        predictions.append(_found(rng, boxes_xyxy, classes))
    return truths, predictions


def pycocotools_of(
    truth: dict[str, Any], results: list[dict[str, Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Its precision and recall, by all that it keeps apart."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = truth
        known.createIndex()
        found = COCO()
        found.dataset = {**truth, "annotations": _numbered(results)}
        found.createIndex()
        judge = COCOeval(known, found, "bbox")
        judge.evaluate()
        judge.accumulate()
    return judge.eval["precision"], judge.eval["recall"]


def _numbered(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Results as annotations, as `loadRes` makes them, which refuses an empty list."""
    return [
        {**one, "id": number, "area": one["bbox"][2] * one["bbox"][3], "iscrowd": 0}
        for number, one in enumerate(results, 1)
    ]


def _boxes(rng: np.random.Generator, objects: int) -> NDArray[np.float64]:
    low = rng.integers(0, 100, (objects, 2)).astype(float)
    return np.concatenate((low, low + rng.integers(1, 60, (objects, 2))), 1)


def _found(rng: np.random.Generator, boxes_xyxy: Any, classes: Any) -> Predictions:
    count = int(rng.integers(0, 12)) * int(rng.random() > 0.2)
    found_xyxy, found = _boxes(rng, count), rng.integers(0, CLASSES, count)
    if len(boxes_xyxy) and count:
        of = rng.integers(0, len(boxes_xyxy), count)
        near = rng.random(count) < 0.7
        found_xyxy[near] = boxes_xyxy[of][near] + rng.integers(-6, 7, (count, 4))[near]
        found_xyxy[:, 2:] = np.maximum(found_xyxy[:, 2:], found_xyxy[:, :2] + 1)
        found[near] = classes[of][near]
    return Predictions(found_xyxy, rng.integers(0, 5, count) / 4, found)
