"""Which regions a phrase of the caption speaks of, by its words alone."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opendet.annotators import english

Synonyms = Mapping[str, Sequence[str]]
"""A term of captions, in the singular -> the labels that it may stand for, in the singular."""

_TERM = re.compile(r"[^\W_]+")
_REMARK = re.compile(r"\([^)]*\)")
_LEFT_OUT = english.DETERMINERS | english.NUMBERS | english.CONJUNCTIONS


@dataclass(frozen=True, slots=True)
class Wording:
    """What the words of a phrase or a label say, all in lower case and in the singular."""

    kind: str
    """The thing itself: `star` of `two red stars`, `hot dog` of `a hot dog`."""
    words: frozenset[str]
    """All words but determiners and numbers."""


def wording(text: str) -> Wording:
    """Understand a phrase, a label such as `traffic light`, or LVIS's `bow_(ribbon)`."""
    found = _TERM.findall(_REMARK.sub(" ", text).lower())
    words = tuple(english.singular(word) for word in found if word not in _LEFT_OUT)
    return Wording(english.kind_of(words), frozenset(words))


def ground(
    phrase: str, sayings: Sequence[Sequence[str]], synonyms: Synonyms | None = None
) -> tuple[int, ...]:
    """Indices of the regions that a phrase speaks of: the ones that fit it best, all of them.

    `sayings` has what each region is called. `two red stars` are all red stars, whether striped or
    not; `a blue star` is never a red one; `a large star` may be any star.
    """
    meant = wording(phrase)
    fits = [
        max((fit(meant, wording(said), synonyms or {}) for said in said_of_one), default=0)
        for said_of_one in sayings
    ]
    best = max(fits, default=0)
    return tuple(index for index, value in enumerate(fits) if value == best) if best else ()


def fit(phrase: Wording, label: Wording, synonyms: Synonyms) -> int:
    """How well a label fits a phrase: 0 where it is another kind of thing or contradicts it, else
    one more for the very same kind and for each word that both have."""
    same = phrase.kind == label.kind
    if not (same or _covers(phrase.kind, label.kind, synonyms)) or not phrase.kind:
        return 0
    if _contradict(phrase, label):
        return 0
    return 1 + same + len((phrase.words & label.words) - {phrase.kind})


def _covers(phrase: str, label: str, synonyms: Synonyms) -> bool:
    return (
        label in english.broader(phrase)
        or phrase in english.broader(label)
        or label in synonyms.get(phrase, ())
    )


def _contradict(phrase: Wording, label: Wording) -> bool:
    """Both name a colour, or both a pattern, and not one of them is the same."""
    return any(
        phrase.words & group and label.words & group and not phrase.words & label.words & group
        for group in (english.COLOURS, english.PATTERNS)
    )
