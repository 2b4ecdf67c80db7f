"""What the lint of grounding data can find: a stable name, how grave it is, what it means."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    ERROR = "error"
    """Training loses or spoils something because of it, mostly without a word."""
    WARNING = "warning"
    """Worth a look; such data may be meant so."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image's annotations lie."""

    file: str
    line: int | None = None
    """From 1, in a file of lines."""
    key: str = ""
    """Of a build's record."""

    def __str__(self) -> str:
        return self.key or (self.file if self.line is None else f"{self.file}:{self.line}")


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect of one image."""

    kind: str
    """A key of `KINDS`."""
    part: str
    """The part of the image's annotations, as `region 0, box 2`, counted from 0; empty for all."""
    says: str
    """One sentence."""


_ERRORS = {
    "file.empty": "a file without a line",
    "line.not_utf8": "a line that is no UTF-8 text",
    "line.not_json": "a line that is no JSON",
    "line.not_object": "a line of JSON that is no object",
    "line.too_long": "a line too long to be one image",
    "line.refused": "JSON that strict readers refuse: half a character, or nested too deep",
    "line.repeated": "an image that comes again with the same caption",
    "annotation.missing": "neither `grounding` nor `detection`",
    "annotation.malformed": "regions or instances that are no list of objects",
    "filename.missing": "no file's name",
    "filename.unusable": "a file's name that leaves its folder, or that no file can have",
    "size.missing": "no width or no height",
    "size.invalid": "a width or height that is no positive whole number",
    "caption.missing": "regions without a caption to point into",
    "caption.empty": "a caption of nothing but spaces",
    "caption.too_long": "a caption too long to be one, which a build drops with its phrases",
    "region.malformed": "a phrase or category that is no text, or a label that is none",
    "region.phraseless": "a region that is called nothing",
    "region.boxless": "a phrase without a box",
    "box.malformed": "a box that is not 4 numbers",
    "box.not_finite": "a box with NaN or infinity",
    "box.inverted": "a box whose right or lower edge comes before the other",
    "box.tiny": "a box under 1 pixel wide or high, which loaders drop",
    "box.outside": "a box that lies beside the image, which loaders drop",
    "box.overhang": "a box that reaches over the image's edge by more than a pixel",
    "box.duplicate": "two boxes of one name and mention with an IoU above 0.9",
    "span.malformed": "`tokens_positive` that is no list of [start, end]",
    "span.missing": "a phrase without spans where the form asks for them",
    "span.count": "not as many spans as phrases",
    "span.empty": "a span of no character",
    "span.outside": "a span outside the caption",
    "span.mismatch": "a span of other words than its phrase",
    "span.shifted": "a span that moves when the loader lowers and strips the caption",
    "span.overlap": "spans of different phrases that overlap",
    "phrase.not_in_caption": "a phrase without spans whose words the caption does not hold",
    "phrase.unknown_region": "a phrase of a region that is not there",
    "tokens.span_lost": "a span past the token budget",
    "name.empty": "a name of nothing but spaces",
    "name.too_long": "a name as long as a sentence or longer",
    "name.control": "a name with control, invisible or broken characters",
    "name.markup": "a name with HTML",
    "name.placeholder": "a name that is or holds a placeholder",
    "name.no_noun": "a name of nothing but articles, numbers and marks",
    "tags.malformed": "tags that are no list of texts",
    "tags.empty": "tags that are declared and empty",
    "conversation.malformed": "a conversation that is no list of {from, value}",
    "conversation.turns": "a conversation that does not go human, gpt, human, gpt",
    "conversation.image": "a conversation that does not hold <image> once, in a human turn",
    "conversation.empty_turn": "a turn without words",
}
_WARNINGS = {
    "line.blank": "a line of nothing",
    "image.repeated": "an image that comes again with another caption",
    "image.few_boxes": "fewer than 3 boxes: GroundingCap drops such images",
    "filename.null": "a file's name that is said to be unknown",
    "size.null": "a size that is said to be unknown",
    "region.label_alone": "a detection without a category: a label map must name its label",
    "box.thin": "a box with no more than 1 pixel inside the image, which a build drops",
    "box.edge": "a box that reaches over the image's edge by up to a pixel",
    "box.whole_image": "a box of more than 95 % of the image",
    "box.mentioned_again": "two mentions of one name share a box; loaders learn it twice",
    "tokens.span_at_risk": "a span that may be past the token budget; --vocabulary tells",
    "caption.unclean": "a caption with control characters, HTML or placeholders",
    "text.speculative": "a text that guesses: loaders cut such clauses",
}
KINDS: dict[str, tuple[Severity, str]] = {
    **{kind: (Severity.ERROR, means) for kind, means in _ERRORS.items()},
    **{kind: (Severity.WARNING, means) for kind, means in _WARNINGS.items()},
}
"""Kind -> how grave it is, and what it means."""
