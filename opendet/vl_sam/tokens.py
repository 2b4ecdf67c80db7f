"""Which tokens of a sequence are the image, and which an object's name.

An image is a grid of tokens, row by row, somewhere in the prompt; a family of models says where
and how large. A name is found in the answer's text, and the text's characters in its tokens.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opendet.annotators.noun_phrases import Span
from opendet.record import BoxXYXY

if TYPE_CHECKING:
    from torch import Tensor

FAMILIES = ("llava", "llava_next", "llava_onevision", "qwen2_vl", "qwen2_5_vl", "qwen3_vl")
"""What a checkpoint's config.json calls itself."""

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What a tokenizer writes for a character of which it has some bytes only."""


@dataclass(frozen=True)
class ImageTokens:
    """The tokens that show the whole image."""

    places: "Tensor"
    """(h * w,) in the sequence, row by row."""
    rows: int
    columns: int
    shown_xyxy: BoxXYXY
    """What they cover, in the image's pixels."""


def image_tokens(
    config: Any,
    processor: Any,
    inputs: Mapping[str, Any],
    size_wh: tuple[int, int],
    name: str = "the model",
) -> ImageTokens:
    """Of a model's inputs, one sequence with one image of that size.

    Models that see an image whole and in tiles have it whole first, and that is what is taken.
    Raises ValueError, which begins with `name`, where the sequence has not as many tokens of the
    image as its grid.
    """
    places = (inputs["input_ids"][0] == config.image_token_id).nonzero()[:, 0]
    rows, columns = _grid(config, inputs)
    expected, first = rows * columns, 0
    if config.model_type == "llava" and len(places) == expected + 1:
        first = 1  # the vision model's class token leads
    tiled = config.model_type in ("llava_next", "llava_onevision")
    if len(places) < first + expected or (not tiled and len(places) != first + expected):
        raise ValueError(
            f"{name} shows an image in {len(places)} tokens, which is no grid of {rows} x "
            f"{columns}: VL-SAM knows {', '.join(FAMILIES)} as their authors published them"
        )
    return ImageTokens(
        places[first : first + expected], rows, columns, shown_area(config, processor, size_wh)
    )


def _grid(config: Any, inputs: Mapping[str, Any]) -> tuple[int, int]:
    """Rows and columns of tokens."""
    if "image_grid_thw" in inputs:
        _, rows, columns = inputs["image_grid_thw"][0].tolist()
        merged = config.vision_config.spatial_merge_size  # patches a side that become one token
        return rows // merged, columns // merged
    eyes = config.vision_config
    side = eyes.image_size // eyes.patch_size
    return side, side


def shown_area(config: Any, processor: Any, size_wh: tuple[int, int]) -> BoxXYXY:
    """What of an image the grid covers, in the image's pixels.

    LLaVA's first models see the square in the middle, or the image with margins that make it one;
    the others stretch the whole image.
    """
    width, height = size_wh
    if config.model_type != "llava":
        return 0.0, 0.0, float(width), float(height)
    eyes = processor.image_processor
    shown_w, shown_h = float(width), float(height)
    if getattr(eyes, "do_pad", None):
        shown_w = shown_h = float(max(size_wh))
    size, crop = eyes.size, eyes.crop_size
    if eyes.do_center_crop and crop:
        if size.get("shortest_edge"):
            per_x = per_y = min(shown_w, shown_h) / size["shortest_edge"]
        else:
            per_x, per_y = shown_w / size["width"], shown_h / size["height"]
        shown_w, shown_h = crop["width"] * per_x, crop["height"] * per_y
    left, top = (width - shown_w) / 2, (height - shown_h) / 2
    return left, top, left + shown_w, top + shown_h


def token_spans(tokenizer: Any, tokens: Sequence[int]) -> tuple[str, list[Span]]:
    """An answer's text, and the characters of it that each token wrote.

    The text is written token by token, so that it need not be tokenised once more, which might
    give other tokens. Tokens that write a character together have the same span, and marks that are
    no text an empty one.
    """
    text, spans, waiting = "", list[Span](), 0
    for count in range(1, len(tokens) + 1):
        written = tokenizer.decode(
            tokens[:count], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        waiting += 1
        if written.endswith(UNFINISHED) and count < len(tokens):
            continue
        spans += [Span(len(text), max(len(text), len(written)))] * waiting
        text, waiting = written, 0
    return text, spans


def tokens_at(spans: Sequence[Span], where: Span) -> list[int]:
    """Numbers of the tokens that wrote any character there."""
    return [
        number for number, span in enumerate(spans)
        if span.start < span.end and not span.apart_from(where)
    ]  # fmt: skip


def name_spans(text: str, names: Sequence[str]) -> dict[str, Span]:
    """Where an answer says each name: the first time that it is no part of a longer one, else the
    first time. Names that it does not say as they are, are left out."""
    taken: list[Span] = []
    found = {}
    for name in sorted(names, key=lambda one: -len(one)):
        said = list(_said(text, name))
        free = [one for one in said if all(one.apart_from(other) for other in taken)]
        if said:
            found[name] = (free or said)[0]
            taken += free
    return {name: found[name] for name in names if name in found}


def _said(text: str, name: str) -> Iterator[Span]:
    words = r"[\s_*]+".join(map(re.escape, name.split()))
    for match in re.finditer(rf"(?<!\w){words}(?!\w)", text, re.IGNORECASE):
        yield Span(*match.span())
