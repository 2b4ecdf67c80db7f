"""How each family of vision-language models is asked for boxes, and how its answer is read."""

import re
from typing import Any, Literal

from opendet.annotators.box_answers import (
    ParsedBoxes,
    parse_florence2,
    parse_kosmos2,
    parse_qwen2,
    parse_qwen2_5,
    parse_qwen3,
)

Dialect = Literal["qwen2", "qwen2_5", "qwen3", "florence2", "kosmos2"]
_JSON_PROMPT = (
    "Locate every instance of these categories: {names}. Report bbox coordinates in JSON format."
)
PROMPTS: dict[Dialect, str] = {
    "qwen2": "Find every instance of these categories and give the box of each: {names}.",
    "qwen2_5": _JSON_PROMPT,
    "qwen3": _JSON_PROMPT,
    "florence2": "<CAPTION_TO_PHRASE_GROUNDING>{names}",
    "kosmos2": "<grounding><phrase>{names}</phrase>",
}
FAMILIES: dict[str, Dialect] = {
    "qwen2_vl": "qwen2",
    "qwen2_5_vl": "qwen2_5",
    "qwen3_vl": "qwen3",
    "qwen3_vl_moe": "qwen3",
    "florence2": "florence2",
    "kosmos-2": "kosmos2",
}
"""What a checkpoint's config.json calls itself, and what such a model speaks. One that is not here
may speak Qwen2-VL's or Qwen3-VL's dialect, whose numbers do not hang on the model's eyes."""


def questions(
    prompt: str, names: tuple[str, ...], *, dialect: Dialect, at_once: int
) -> list[tuple[str, tuple[str, ...]]]:
    """Prompts, and the names that each asks for: none where the prompt has no {names}."""
    if "{names}" not in prompt:
        return [(prompt, ())]
    # Kosmos-2 goes on from the one phrase that its question ends with.
    size = 1 if dialect == "kosmos2" else at_once
    joint = ". " if dialect == "florence2" else ", "
    pieces = [names[start : start + size] for start in range(0, len(names), size)]
    return [(prompt.replace("{names}", joint.join(piece)), piece) for piece in pieces]


def parsed(
    dialect: Dialect, prompt: str, answer: str, shown_wh: tuple[int, int] | None
) -> ParsedBoxes:
    """An answer's boxes; `shown_wh` are Qwen2.5-VL's pixels of the image as it was shown."""
    match dialect:
        case "qwen2":
            return parse_qwen2(answer)
        case "qwen2_5":
            assert shown_wh is not None
            return parse_qwen2_5(answer, width=shown_wh[0], height=shown_wh[1])
        case "qwen3":
            return parse_qwen3(answer)
        case "florence2":
            return parse_florence2(answer)
        case "kosmos2":  # the answer goes on from the prompt, whose phrase names its first boxes
            return parse_kosmos2(prompt + answer)


def plain(name: str) -> str:
    """A name as two writers of it agree: no case, no article, no full stop."""
    return re.sub(r"^(?:an?|the) ", "", " ".join(name.casefold().split()).strip(" .,:;"))


def check_family(family: str, dialect: Dialect) -> None:
    """ValueError where a model of that family speaks otherwise."""
    spoken = FAMILIES.get(family)
    if spoken is not None and spoken != dialect:
        raise ValueError(f"it is a {family}: set dialect to {spoken}, not {dialect}")
    if spoken is None and dialect not in ("qwen2", "qwen3"):
        raise ValueError(f"it is a {family}, which does not speak the dialect {dialect}")


def check_processor(processor: Any, dialect: Dialect) -> None:
    """ValueError where the processor cannot ask in that dialect, or hides a part of the image."""
    if dialect in ("florence2", "kosmos2"):
        size = processor.image_processor.size
        if not (size["height"] and size["width"]):  # a side cut off would move every box
            raise ValueError("its image processor crops: boxes could not be put into the image")
    elif not getattr(processor, "chat_template", None):
        raise ValueError("it has no chat template: choose an instruction-tuned model")
