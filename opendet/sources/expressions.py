"""Referring expressions, joined to one caption that is grounded phrase by phrase.

An image has many expressions and an entry one caption, so they follow each other as sentences:
`left man. man in red.`
"""

from collections.abc import Iterable
from dataclasses import dataclass

from opendet.sources.listing import AnnotatedPhrase, clean_text

_ENDS = (".", "!", "?")


@dataclass(frozen=True, slots=True)
class Expression:
    """A text, and which of its spans speak of which boxes."""

    text: str
    phrases: tuple[AnnotatedPhrase, ...]


def expression_of(text: str, boxes: Iterable[int]) -> Expression:
    """One that speaks of the boxes as a whole."""
    cleaned = clean_text(text)
    return Expression(cleaned, (AnnotatedPhrase(0, len(cleaned), tuple(boxes)),))


def joined(expressions: Iterable[Expression]) -> tuple[str, tuple[AnnotatedPhrase, ...]]:
    """The caption and its phrases. Empty expressions and repeated ones are left out."""
    caption = ""
    phrases: list[AnnotatedPhrase] = []
    for expression in dict.fromkeys(expressions):
        if not expression.text:
            continue
        caption += " " if caption else ""
        phrases += (_shifted(phrase, len(caption)) for phrase in expression.phrases)
        caption += expression.text + ("" if expression.text.endswith(_ENDS) else ".")
    return caption, tuple(phrases)


def _shifted(phrase: AnnotatedPhrase, by: int) -> AnnotatedPhrase:
    return AnnotatedPhrase(phrase.start + by, phrase.end + by, phrase.boxes)
