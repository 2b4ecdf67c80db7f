"""Average precision over plain arrays, computed by faster-coco-eval.

A `Truth` and a `Predictions` per image. Classes are integers from 0; a crowd is ignored as COCO
ignores it: a detection inside one is neither right nor wrong.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

IOU_THRESHOLDS = tuple(float(step) for step in np.linspace(0.5, 0.95, 10))
_AT_50, _AT_75 = 0, 5
_WHOLE_RANGE = [0, 1e10]  # Square pixels: objects of every size.


def _no_boxes() -> Floats:
    return np.zeros((0, 4))


@dataclass(frozen=True, slots=True)
class Truth:
    """The objects of one image."""

    key: str
    boxes_xyxy: Floats = field(default_factory=_no_boxes)
    """(M, 4) pixels."""
    classes: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    """(M,)"""
    crowd: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    """(M,) True where the box covers a group."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a detector found in one image."""

    boxes_xyxy: Floats = field(default_factory=_no_boxes)
    """(N, 4) pixels."""
    scores: Floats = field(default_factory=lambda: np.zeros(0))
    """(N,)"""
    classes: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    """(N,)"""


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """AP of every class at every IoU threshold; NaN for a class that has no truth."""

    per_class: Floats
    """(C, 10) in [0, 1]; the columns are `IOU_THRESHOLDS`."""

    def ap(self, classes: Iterable[int] | None = None) -> float:
        """Mean over classes and thresholds; NaN where none of the classes has any truth."""
        return self._mean(slice(None), classes)

    def ap50(self, classes: Iterable[int] | None = None) -> float:
        return self._mean(_AT_50, classes)

    def ap75(self, classes: Iterable[int] | None = None) -> float:
        return self._mean(_AT_75, classes)

    def _mean(self, column: int | slice, classes: Iterable[int] | None) -> float:
        rows = self.per_class if classes is None else self.per_class[list(classes)]
        values = rows[:, column]
        known = values[~np.isnan(values)]
        return float(known.mean()) if known.size else float("nan")


def average_precision(
    truths: Sequence[Truth],
    predictions: Sequence[Predictions],
    *,
    classes: int,
    max_detections: int = 100,
    per_class: int | None = None,
) -> AveragePrecision:
    """COCO's AP at the ten thresholds, objects of every size.

    The two sequences are aligned image by image; between equal scores the earlier image counts
    first. `max_detections` bounds one image and class, as
    COCO does. `per_class` bounds a class over the whole set before that (LVIS's fixed AP).
    """
    assert len(truths) == len(predictions), (len(truths), len(predictions))
    if not truths or not classes:
        return AveragePrecision(np.full((classes, len(IOU_THRESHOLDS)), np.nan))
    kept = predictions if per_class is None else keep_best_per_class(predictions, per_class)
    evaluator = _evaluator(truths, kept, classes, max_detections)
    evaluator.evaluate()
    evaluator.accumulate()
    precision = evaluator.eval["precision"][:, :, :, 0, -1]  # (T, R, C), -1 without truth
    return AveragePrecision(np.where(precision > -1, precision, np.nan).mean(1).T)


def class_agnostic(truth: Truth) -> Truth:
    """The same objects, all of one class."""
    return replace(truth, classes=np.zeros_like(truth.classes))


def keep_best_per_class(predictions: Sequence[Predictions], most: int) -> list[Predictions]:
    """The `most` best scored detections of each class over all images; ties keep their order."""
    lengths = [len(one.scores) for one in predictions]
    scores = np.concatenate([one.scores for one in predictions])
    classes = np.concatenate([one.classes for one in predictions])
    order = np.lexsort((-scores, classes))  # Stable: by class, then the best first.
    firsts = np.searchsorted(classes[order], classes[order], side="left")
    keep = np.zeros(len(scores), np.bool_)
    keep[order] = np.arange(len(order)) - firsts < most
    masks = np.split(keep, np.cumsum(lengths)[:-1])
    return [
        Predictions(one.boxes_xyxy[mask], one.scores[mask], one.classes[mask])
        for one, mask in zip(predictions, masks, strict=True)
    ]


def _evaluator(
    truths: Sequence[Truth], predictions: Sequence[Predictions], classes: int, max_detections: int
) -> Any:
    from faster_coco_eval import COCO
    from faster_coco_eval.core.faster_eval_api import COCOeval_faster

    truth = COCO(coco_truth(truths, classes))
    evaluator = COCOeval_faster(truth, truth.loadRes(coco_results(predictions)), "bbox")
    evaluator.params.maxDets = [max_detections]
    evaluator.params.areaRng = [_WHOLE_RANGE]
    evaluator.params.areaRngLbl = ["all"]
    return evaluator


def coco_truth(truths: Sequence[Truth], classes: int) -> dict[str, Any]:
    """The set as COCO's JSON has it; images and classes are numbered from 1."""
    annotations = [
        _annotation(box_xywh, image, kind, crowd=bool(crowd))
        for image, truth in enumerate(truths, 1)
        for box_xywh, kind, crowd in zip(
            _xywh(truth.boxes_xyxy), truth.classes, truth.crowd, strict=True
        )
    ]
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number  # From 1: COCO's matching takes 0 for `unmatched`.
    return {
        "images": [{"id": image} for image in range(1, len(truths) + 1)],
        "categories": [{"id": kind + 1, "name": str(kind)} for kind in range(classes)],
        "annotations": annotations,
    }


def coco_results(predictions: Sequence[Predictions]) -> list[dict[str, Any]]:
    """The detections as COCO's result files have them."""
    return [
        {
            "image_id": image,
            "category_id": int(kind) + 1,
            "bbox": [float(side) for side in box_xywh],
            "score": float(score),
        }
        for image, one in enumerate(predictions, 1)
        for box_xywh, score, kind in zip(
            _xywh(one.boxes_xyxy), one.scores, one.classes, strict=True
        )
    ]


def _annotation(box_xywh: Floats, image: int, kind: int, *, crowd: bool) -> dict[str, Any]:
    return {
        "image_id": image,
        "category_id": int(kind) + 1,
        "bbox": [float(side) for side in box_xywh],
        "area": float(box_xywh[2] * box_xywh[3]),
        "iscrowd": int(crowd),
    }


def _xywh(boxes_xyxy: Floats) -> Floats:
    corners = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    return np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), 1)
