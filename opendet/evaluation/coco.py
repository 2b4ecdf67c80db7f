"""COCO's numbers for boxes and for masks (Lin et al. 2014); Objects365 uses those for boxes."""

from opendet.evaluation.annotations import AnnotatedSet
from opendet.evaluation.counting import COCO_LIMITS, Counts, count
from opendet.evaluation.tables import FoundObjects

_LETTERS = {"small": "s", "medium": "m", "large": "l"}


def coco_numbers(
    judged_by: AnnotatedSet, found: FoundObjects, *, by_masks: bool = False
) -> dict[str, float]:
    """AP, AP50, AP75, APs/m/l, AR1/10/100, ARs/m/l: the twelve of pycocotools, NaN for its -1."""
    counts = count(
        judged_by.objects,
        found,
        images=len(judged_by.images),
        categories=len(judged_by.categories),
        by_masks=by_masks,
    )
    return {
        **precision_numbers(counts),
        **{f"AR{limit}": counts.ar(limit) for limit in COCO_LIMITS},
        **{f"AR{letter}": counts.ar(100, size=size) for size, letter in _LETTERS.items()},
    }


def precision_numbers(counts: Counts) -> dict[str, float]:
    """AP, AP50, AP75 and AP by size of object."""
    return {
        "AP": counts.ap(),
        "AP50": counts.ap(iou=0.5),
        "AP75": counts.ap(iou=0.75),
        **{f"AP{letter}": counts.ap(size=size) for size, letter in _LETTERS.items()},
    }
