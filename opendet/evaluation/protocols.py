"""The benchmarks' protocols by name: which numbers an annotation file and detections give."""

from typing import Literal, get_args

from opendet.evaluation.annotations import AnnotatedSet
from opendet.evaluation.coco import coco_numbers
from opendet.evaluation.lvis import lvis_numbers, minival
from opendet.evaluation.open_vocabulary import ov_coco_numbers
from opendet.evaluation.recall import recall_numbers
from opendet.evaluation.tables import FoundObjects

Protocol = Literal["coco", "objects365", "ov_coco", "lvis", "lvis_minival", "class_agnostic"]


def known_protocol(name: str) -> Protocol:
    """The name itself. Raises ValueError where it is none."""
    for protocol in get_args(Protocol):
        if name == protocol:
            return protocol  # type: ignore[no-any-return]
    raise ValueError(f"no protocol is called {name!r}; there are {', '.join(get_args(Protocol))}")


def judge(judged_by: AnnotatedSet, found: FoundObjects, protocol: Protocol) -> dict[str, float]:
    """The protocol's numbers, in [0, 1]; NaN where there is no object to take one of.

    Raises ValueError for annotations that the protocol cannot be applied to.
    """
    match protocol:
        case "coco" | "objects365":
            return coco_numbers(judged_by, found)
        case "ov_coco":
            return ov_coco_numbers(judged_by, found)
        case "lvis":
            return lvis_numbers(judged_by, found)
        case "lvis_minival":
            return lvis_numbers(*minival(judged_by, found))
        case "class_agnostic":
            return recall_numbers(judged_by, found)
