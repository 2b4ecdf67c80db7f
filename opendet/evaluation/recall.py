"""Class-agnostic average recall: is an object found at all, whatever it is called."""

from opendet.evaluation.annotations import AnnotatedSet
from opendet.evaluation.counting import SIZES, count
from opendet.evaluation.tables import FoundObjects

LIMITS = (10, 100, 300)
"""Detections of an image that may find its objects, the best first."""


def recall_numbers(judged_by: AnnotatedSet, found: FoundObjects) -> dict[str, float]:
    """AR@k over the ten IoU thresholds, by size of object too, and the AP of the 100 best.

    A box that is written down for several classes counts once, with its best score.
    """
    truth, found = judged_by.objects.class_agnostic(), found.class_agnostic()
    images = len(judged_by.images)
    counts = count(truth, found, images=images, categories=1, limits=LIMITS)
    hundred = count(truth, found, images=images, categories=1, limits=(100,), sizes=("all",))
    recalls = {
        f"AR@{limit}" + ("" if size == "all" else f"_{size}"): counts.ar(limit, size=size)
        for limit in LIMITS
        for size in SIZES
    }
    return {
        **recalls,
        "AP": hundred.ap(),
        "AP50": hundred.ap(iou=0.5),
        "AP75": hundred.ap(iou=0.75),
    }
