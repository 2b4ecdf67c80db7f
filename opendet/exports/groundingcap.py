"""What GroundingCap's lines have beside phrases, and its makers' own rules for them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from opendet.exports.grounding import Grounding, Regions, lists_names
from opendet.inspect.lint_overlap import doubles_of
from opendet.record import Record, Turn
from opendet.sources.odvg_merge import IMAGE_MARK

PROMPT = "Describe the image in detail."
"""What LLMDet asks, whatever the file says."""
MIN_BOXES = 3
MAX_IOU = 0.9


@dataclass(frozen=True, slots=True)
class CapRules:
    """Which images and boxes are good enough; as it stands, all are.

    GroundingCap's makers have `MIN_BOXES` and `MAX_IOU`.
    """

    min_boxes: int = 0
    """An image of which the text speaks of fewer is left out."""
    max_iou: float = 1.0
    """A box that overlaps an earlier one of the same phrase by more is left out, in (0, 1]."""

    def __post_init__(self) -> None:
        if not 0 < self.max_iou <= 1:
            raise ValueError(f"an IoU in (0, 1] makes boxes double, not {self.max_iou}: mend it")


def without_doubles(
    grounding: Grounding, regions: Regions, max_iou: float, left_out: Counter[str]
) -> tuple[Grounding, Regions]:
    """Both without boxes that double an earlier one of the same words."""
    if max_iou >= 1:
        return grounding, regions
    spoken = []
    for one in grounding.spoken:
        boxes_xyxy = [regions[number].box_xyxy for number in one.regions]
        doubles = {late for late, _, _ in doubles_of(boxes_xyxy, max_iou)}
        kept = (number for i, number in enumerate(one.regions) if i not in doubles)
        spoken.append(replace(one, regions=tuple(kept)))
    whole = Grounding(grounding.caption, tuple(spoken))
    doubled = grounding.regions - whole.regions
    left_out["box doubled"] += len(doubled)
    return whole, {number: one for number, one in regions.items() if number not in doubled}


def tags_of(record: Record, phrases: Iterable[str]) -> list[str]:
    """The record's own, else the phrases, each once, whatever its case."""
    if record.tags:
        return list(record.tags)
    distinct: dict[str, str] = {}
    for phrase in phrases:
        if text := " ".join(phrase.split()):
            distinct.setdefault(text.lower(), text)
    return list(distinct.values())


def conversation_of(record: Record) -> tuple[Turn, ...]:
    """The record's own, else the question that the caption answers, and the caption.

    A list of names is no answer: a caption that the source brought along is, to `PROMPT`.
    """
    if record.conversation:
        return record.conversation
    caption = "" if lists_names(record) else record.caption
    answer = caption or next(iter(record.source_captions), "")
    if not answer:
        return ()
    asked = record.caption_from.prompt if caption and record.caption_from else ""
    return (Turn("human", _with_image(asked or PROMPT)), Turn("gpt", answer))


def _with_image(prompt: str) -> str:
    """A prompt as the model saw it may show the image itself, or it was handed over beside."""
    return prompt if IMAGE_MARK in prompt else f"{IMAGE_MARK}\n{prompt}"
