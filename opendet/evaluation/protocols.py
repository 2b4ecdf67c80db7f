"""The benchmarks' protocols by name: which numbers an annotation file and detections give."""

from typing import Literal, get_args

from opendet.evaluation.annotations import AnnotatedSet
from opendet.evaluation.coco import coco_numbers
from opendet.evaluation.lvis import lvis_numbers, minival, require_lvis
from opendet.evaluation.open_vocabulary import ov_coco_groups, ov_coco_numbers
from opendet.evaluation.recall import recall_numbers
from opendet.evaluation.tables import FoundObjects

Protocol = Literal[
    "coco", "coco_masks", "objects365", "ov_coco", "lvis", "lvis_minival", "class_agnostic"
]


def known_protocol(name: str) -> Protocol:
    """The name itself. Raises ValueError where it is none."""
    for protocol in get_args(Protocol):
        if name == protocol:
            return protocol  # type: ignore[no-any-return]
    raise ValueError(f"no protocol is called {name!r}; there are {', '.join(get_args(Protocol))}")


def judges_masks(protocol: Protocol) -> bool:
    """Whether it needs annotations and results that were read with their masks."""
    return protocol == "coco_masks"


def require_fit(judged_by: AnnotatedSet, protocol: Protocol) -> None:
    """Raises ValueError for annotations that the protocol cannot be applied to: `judge` does so
    too, but only when something has been found, which takes hours."""
    match protocol:
        case "ov_coco":
            ov_coco_groups(judged_by)
        case "lvis":
            require_lvis(judged_by)
        case "lvis_minival":
            require_lvis(minival(judged_by, FoundObjects())[0])


def judge(judged_by: AnnotatedSet, found: FoundObjects, protocol: Protocol) -> dict[str, float]:
    """The protocol's numbers, in [0, 1]; NaN where there is no object to take one of.

    Raises ValueError for annotations that the protocol cannot be applied to.
    """
    match protocol:
        case "coco" | "objects365":
            return coco_numbers(judged_by, found)
        case "coco_masks":
            return coco_numbers(judged_by, found, by_masks=True)
        case "ov_coco":
            return ov_coco_numbers(judged_by, found)
        case "lvis":
            return lvis_numbers(judged_by, found)
        case "lvis_minival":
            return lvis_numbers(*minival(judged_by, found))
        case "class_agnostic":
            return recall_numbers(judged_by, found)
