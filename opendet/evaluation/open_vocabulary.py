"""OV-COCO: AP50 of the categories that a detector learnt from boxes, and of those it did not.

The field's four settings (V-, G-, C- and WS-OVD) differ in what training sees beside boxes of base
categories: nothing, the novel names, captions, or image labels. All are judged alike, and so here.
What differs in judging is the list that a detector chose from: all 65 names, the generalised
reading, or one group's alone, the constrained one, in which nothing novel can be taken for a base
thing. A category's AP hangs on what was found of it alone, so both are read from the same numbers.
"""

from importlib.resources import files

import numpy as np

from opendet.evaluation.annotations import AnnotatedSet
from opendet.evaluation.counting import COCO_LIMITS, count
from opendet.evaluation.tables import FoundObjects


def ov_coco_numbers(judged_by: AnnotatedSet, found: FoundObjects) -> dict[str, float]:
    """AP50 and AP of base and novel categories, and of all 65.

    What is found of COCO's other categories is not judged. Of a detector that chose from one
    group's names alone, that group's numbers are the constrained ones, and the others say nothing.
    Raises ValueError where the annotations lack one of the 65.
    """
    groups = ov_coco_groups(judged_by)
    judged = sorted(place for group in groups.values() for place in group)
    counts = count(
        judged_by.objects.only(np.isin(judged_by.objects.category, judged)),
        found.only(np.isin(found.category, judged)),
        images=len(judged_by.images),
        categories=len(judged_by.categories),
        limits=COCO_LIMITS,
        sizes=("all",),
    )
    return {
        **{f"AP50_{group}": counts.ap(iou=0.5, categories=own) for group, own in groups.items()},
        "AP50": counts.ap(iou=0.5),
        **{f"AP_{group}": counts.ap(categories=own) for group, own in groups.items()},
        "AP": counts.ap(),
    }


def ov_coco_groups(judged_by: AnnotatedSet) -> dict[str, list[int]]:
    """`base` and `novel`: numbers of categories. Raises ValueError where one of the 65 is away."""
    numbers = {category.name: place for place, category in enumerate(judged_by.categories)}
    return {group: _places(names, numbers, judged_by) for group, names in ov_coco_split().items()}


def ov_coco_split() -> dict[str, tuple[str, ...]]:
    """`base` and `novel`: names of categories, 48 and 17."""
    groups: dict[str, list[str]] = {}
    text = files("opendet.evaluation").joinpath("ov_coco.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("["):
            group = groups.setdefault(line.strip("[]"), [])
        elif not line.startswith("#"):
            group.append(line)
    return {name: tuple(own) for name, own in groups.items()}


def _places(names: tuple[str, ...], numbers: dict[str, int], judged_by: AnnotatedSet) -> list[int]:
    absent = [name for name in names if name not in numbers]
    if absent:
        raise ValueError(
            f"{judged_by.where} has no category {absent[0]} ({len(absent)} of OV-COCO's are "
            "missing): give COCO's instances file"
        )
    return [numbers[name] for name in names]
