"""Precision and recall of a set of images, counted by faster-coco-eval as COCO or LVIS count them.

T IoU thresholds, R recall points, C categories, A size ranges, K limits of detections.
"""

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from opendet.evaluation.tables import Federation, Floats, FoundObjects, Integers, Masks, TrueObjects
from opendet.masks import mask_areas

IOU_THRESHOLDS = tuple(float(step) for step in np.linspace(0.5, 0.95, 10))
SIZES = {
    "all": (0.0, 1e5**2),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e5**2),
}
"""COCO's ranges of object area in square pixels, both ends included."""
COCO_LIMITS = (1, 10, 100)
_RECALL_POINTS = 101
_PAIRS_AT_ONCE = 1_000_000  # Of image and category: the library holds a list for each.


@dataclass(frozen=True, slots=True)
class Counts:
    """What the averages are taken of; -1 where a category has no object to find."""

    precision: Floats
    """(T, R, C, A) in [0, 1], under the largest limit."""
    recall: Floats
    """(T, C, A, K) in [0, 1]."""
    sizes: tuple[str, ...]
    limits: tuple[int, ...]
    """Detections of one image and category that count, the best first; ascending."""

    def ap(
        self,
        *,
        iou: float | None = None,
        size: str = "all",
        categories: Iterable[int] | None = None,
    ) -> float:
        """Mean over thresholds, recall points and categories; NaN where there is no object."""
        values = self.precision[_thresholds(iou), :, :, self.sizes.index(size)]
        return _mean(values if categories is None else values[:, :, list(categories)])

    def ar(
        self, limit: int, *, size: str = "all", categories: Iterable[int] | None = None
    ) -> float:
        """Mean recall over thresholds and categories; NaN where there is no object."""
        values = self.recall[:, :, self.sizes.index(size), self.limits.index(limit)]
        return _mean(values if categories is None else values[:, list(categories)])


def count(
    truth: TrueObjects,
    found: FoundObjects,
    *,
    images: int,
    categories: int,
    limits: Sequence[int] | None = COCO_LIMITS,
    sizes: Sequence[str] = tuple(SIZES),
    federation: Federation | None = None,
    by_masks: bool = False,
) -> Counts:
    """COCO's matching and accumulation; with a `federation`, LVIS's.

    IoU and a detection's size are those of its box or, `by_masks`, of its mask. `limits` None lets
    every detection count. Categories are counted in groups, and only over the images that hold or
    show one of them: neither changes a number.
    """
    limits = (_most_in_one_place(found, categories),) if limits is None else tuple(sorted(limits))
    if federation is not None:
        found = found.only(federation.judged[found.image, found.category])
    shape = (len(IOU_THRESHOLDS), categories, len(sizes))
    precision = np.full((shape[0], _RECALL_POINTS, *shape[1:]), -1.0)
    recall = np.full((*shape, len(limits)), -1.0)
    with _collector_asleep():
        for group in _groups(truth, images):
            part = _count_group(truth, found, group, limits, sizes, federation, by_masks)
            precision[:, :, group], recall[:, group] = part["precision"][..., -1], part["recall"]
    return Counts(precision, recall, tuple(sizes), limits)


@contextmanager
def _collector_asleep() -> Iterator[None]:
    """The library makes a dictionary for every box: looking for garbage among those that live is
    half of its time."""
    awake = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if awake:
            gc.enable()


def _thresholds(iou: float | None) -> slice | list[int]:
    return (
        slice(None) if iou is None else [int(np.argmin(np.abs(np.subtract(IOU_THRESHOLDS, iou))))]
    )


def _mean(values: Floats) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else float("nan")


def _most_in_one_place(found: FoundObjects, categories: int) -> int:
    """The most detections that one image and category have."""
    _, counts = np.unique(found.image * categories + found.category, return_counts=True)
    return int(counts.max(initial=1))


def _groups(truth: TrueObjects, images: int) -> Iterator[Integers]:
    """Categories that have objects, ascending; the others have no number anyway."""
    present = np.unique(truth.category)
    size = max(1, _PAIRS_AT_ONCE // max(1, images))
    yield from (present[start : start + size] for start in range(0, len(present), size))


def _count_group(
    truth: TrueObjects,
    found: FoundObjects,
    group: Integers,
    limits: Sequence[int],
    sizes: Sequence[str],
    federation: Federation | None,
    by_masks: bool,
) -> Any:
    from faster_coco_eval import COCO
    from faster_coco_eval.core.faster_eval_api import COCOeval_faster

    truth = truth.only(np.isin(truth.category, group))
    found = found.only(np.isin(found.category, group))
    images = np.union1d(truth.image, found.image)
    known = coco_truth(truth, images, group, federation, by_masks=by_masks)
    # What loadRes would make of the results, without a polygon of each box.
    said = {**known, "annotations": coco_results(found, by_masks=by_masks)}
    kind = "segm" if by_masks else "bbox"
    judge = COCOeval_faster(COCO(known), COCO(said), kind, lvis_style=federation is not None)
    judge.params.maxDets = list(limits)
    judge.params.areaRng = [list(SIZES[size]) for size in sizes]
    judge.params.areaRngLbl = list(sizes)
    judge.evaluate()
    judge.accumulate()
    return judge.eval


def coco_truth(
    truth: TrueObjects,
    images: Integers,
    categories: Integers,
    federation: Federation | None = None,
    *,
    by_masks: bool = False,
) -> dict[str, Any]:
    """The set as COCO's and LVIS's JSON have it. Images and categories keep their numbers, from 1:
    COCO's matching takes an annotation's id of 0 for `unmatched`."""
    columns: dict[str, Sequence[Any]] = {
        "id": range(1, len(truth.image) + 1),
        "image_id": (truth.image + 1).tolist(),
        "category_id": (truth.category + 1).tolist(),
        "bbox": truth.boxes_xywh.tolist(),
        "area": truth.areas.tolist(),
        "iscrowd": truth.crowd.astype(int).tolist(),
    }
    if by_masks:
        columns["segmentation"] = _codes(truth.masks)
    # The library asks for an image's size, for polygons: a compressed mask brings its own.
    size = {"height": 0, "width": 0} if by_masks else {}
    return {
        "images": [
            {"id": int(image) + 1, **size, **_lists(int(image), federation)} for image in images
        ],
        "categories": [
            {"id": int(one) + 1, "name": str(one), "frequency": "f"} for one in categories
        ],
        "annotations": _rows(columns),
    }


def coco_results(found: FoundObjects, *, by_masks: bool = False) -> list[dict[str, Any]]:
    """The detections as COCO's result files have them, numbered as in `coco_truth`, and with what
    COCO's reader of results adds."""
    columns: dict[str, Sequence[Any]] = {
        "id": range(1, len(found) + 1),
        "image_id": (found.image + 1).tolist(),
        "category_id": (found.category + 1).tolist(),
        "bbox": found.boxes_xywh.tolist(),
        "score": found.scores.tolist(),
        "area": (found.boxes_xywh[:, 2] * found.boxes_xywh[:, 3]).tolist(),
        "iscrowd": [0] * len(found),
    }
    if by_masks:
        codes = _codes(found.masks)
        columns.update(segmentation=codes, area=mask_areas(codes).tolist())
    return _rows(columns)


def _rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _codes(masks: Masks | None) -> list[Any]:
    """None where there is no object: of a table without masks `_rows` refuses the others."""
    return [] if masks is None else masks.tolist()


def _lists(image: int, federation: Federation | None) -> dict[str, list[int]]:
    if federation is None:
        return {}
    return {
        "neg_category_ids": (np.flatnonzero(federation.judged[image]) + 1).tolist(),
        "not_exhaustive_category_ids": (np.flatnonzero(federation.partial[image]) + 1).tolist(),
    }
