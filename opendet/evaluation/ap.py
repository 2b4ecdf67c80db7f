"""Average precision over plain arrays, image by image.

A `Truth` and a `Predictions` per image. Classes are integers from 0; a crowd is ignored as COCO
ignores it: a detection inside one is neither right nor wrong.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from opendet.evaluation.counting import Counts, count
from opendet.evaluation.tables import Floats, FoundObjects, Integers, TrueObjects, xywh_of


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
    """AP of groups of classes; NaN for a group that has no truth."""

    counts: Counts

    def ap(self, classes: Iterable[int] | None = None, *, size: str = "all") -> float:
        """Mean over classes and the ten thresholds."""
        return self.counts.ap(categories=classes, size=size)

    def ap50(self, classes: Iterable[int] | None = None) -> float:
        return self.counts.ap(categories=classes, iou=0.5)

    def ap75(self, classes: Iterable[int] | None = None) -> float:
        return self.counts.ap(categories=classes, iou=0.75)

    def ar(self, limit: int, *, size: str = "all") -> float:
        """Mean recall of `limit` detections of an image and class, over the ten thresholds."""
        return self.counts.ar(limit, size=size)


def average_precision(
    truths: Sequence[Truth],
    predictions: Sequence[Predictions],
    *,
    classes: int,
    max_detections: int = 100,
    per_class: int | None = None,
    recall_at: Sequence[int] = (),
    sizes: Sequence[str] = ("all",),
) -> AveragePrecision:
    """COCO's AP at the ten thresholds; an object's size is its box's.

    The two sequences are aligned image by image; between equal scores the earlier image counts
    first. `max_detections` bounds one image and class, as COCO does. `per_class` bounds a class
    over the whole set before that (LVIS's fixed AP). `recall_at` are smaller limits that recall is
    asked for too, `sizes` names of `counting.SIZES`.
    """
    assert len(truths) == len(predictions), (len(truths), len(predictions))
    found = table_of_found(predictions)
    assert all(limit <= max_detections for limit in recall_at), (recall_at, max_detections)
    return AveragePrecision(
        count(
            table_of_truth(truths),
            found if per_class is None else found.best_per_category(per_class),
            images=len(truths),
            categories=classes,
            limits=sorted({max_detections, *recall_at}),
            sizes=sizes,
        )
    )


def class_agnostic(truth: Truth) -> Truth:
    """The same objects, all of one class."""
    return replace(truth, classes=np.zeros_like(truth.classes))


def table_of_truth(truths: Sequence[Truth]) -> TrueObjects:
    """The images in their order as one table; an object's area is its box's."""
    if not truths:
        return TrueObjects()
    boxes_xywh = np.concatenate([xywh_of(one.boxes_xyxy) for one in truths])
    return TrueObjects(
        image=np.repeat(np.arange(len(truths)), [len(one.classes) for one in truths]),
        category=np.concatenate([one.classes for one in truths]),
        boxes_xywh=boxes_xywh,
        areas=boxes_xywh[:, 2] * boxes_xywh[:, 3],
        crowd=np.concatenate([one.crowd for one in truths]),
    )


def table_of_found(predictions: Sequence[Predictions]) -> FoundObjects:
    """The images in their order as one table."""
    if not predictions:
        return FoundObjects()
    return FoundObjects(
        image=np.repeat(np.arange(len(predictions)), [len(one.scores) for one in predictions]),
        category=np.concatenate([one.classes for one in predictions]),
        boxes_xywh=np.concatenate([xywh_of(one.boxes_xyxy) for one in predictions]),
        scores=np.concatenate([one.scores for one in predictions]),
    )
