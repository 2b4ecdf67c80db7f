"""LVIS's fixed AP (Dave et al. 2021), overall and for rare, common and frequent categories.

A category keeps its 10,000 best detections of the whole set, and an image has no limit of its own.
LVIS is federated: detections count only in images where their category was looked for, and those
that match nothing are passed over where not all of its objects were annotated.
"""

from dataclasses import replace

import numpy as np

from opendet.evaluation.annotations import AnnotatedSet
from opendet.evaluation.coco import precision_numbers
from opendet.evaluation.counting import count
from opendet.evaluation.tables import FoundObjects

PER_CATEGORY = 10_000
FREQUENCIES = ("r", "c", "f")
_MINIVAL = "/val2017/"


def lvis_numbers(
    judged_by: AnnotatedSet, found: FoundObjects, *, per_category: int = PER_CATEGORY
) -> dict[str, float]:
    """AP, AP50, AP75, APs/m/l, APr/c/f, AR. Raises ValueError for a file without LVIS's lists."""
    require_lvis(judged_by)
    kept = found.best_per_category(per_category)
    counts = count(
        judged_by.objects,
        kept,
        images=len(judged_by.images),
        categories=len(judged_by.categories),
        limits=None,
        federation=judged_by.federation,
    )
    groups = {
        letter: [c for c, one in enumerate(judged_by.categories) if one.frequency == letter]
        for letter in FREQUENCIES
    }
    return {
        **precision_numbers(counts),
        **{f"AP{letter}": counts.ap(categories=group) for letter, group in groups.items()},
        "AR": counts.ar(counts.limits[-1]),
    }


def minival(judged_by: AnnotatedSet, found: FoundObjects) -> tuple[AnnotatedSet, FoundObjects]:
    """The images of LVIS v1's val that lie in COCO's val2017: 4,809, which no detector that was
    trained on COCO's or LVIS's training images has seen (Kamath et al. 2021).

    Raises ValueError for a file whose images have no urls, or none of val2017.
    """
    chosen = np.array(
        [place for place, one in enumerate(judged_by.images) if _MINIVAL in one.coco_url], np.int64
    )
    if not len(chosen):
        raise ValueError(
            f"{judged_by.where} has no image whose coco_url is of val2017: minival is a part of "
            "LVIS v1's val; a file that is minival already is judged as lvis"
        )
    kept = found.only(np.isin(found.image, chosen))
    return judged_by.of_images(chosen), replace(kept, image=np.searchsorted(chosen, kept.image))


def require_lvis(judged_by: AnnotatedSet) -> None:
    """Raises ValueError for a file without LVIS's lists or frequencies."""
    if judged_by.federation is None:
        raise ValueError(
            f"{judged_by.where} is no LVIS file: its images have no neg_category_ids; judge it as "
            "coco"
        )
    odd = next((one for one in judged_by.categories if one.frequency not in FREQUENCIES), None)
    if odd:
        raise ValueError(
            f"{judged_by.where}: category {odd.name} has the frequency {odd.frequency!r}, not one "
            f"of {', '.join(FREQUENCIES)}"
        )
