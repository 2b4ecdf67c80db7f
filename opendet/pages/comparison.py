"""Two collections side by side: which samples are in one alone, and in what the others differ."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from opendet.pages.beliefs import ASPECTS, Beliefs
from opendet.pages.entry import said
from opendet.pages.tally import Tally

ONLY_HERE, ONLY_THERE, SAME, DIFFERING = range(4)
MOST_NAMES = 300
"""Rows of the table of names; the rest is told by its number."""


@dataclass(frozen=True, slots=True)
class NameChange:
    """How often a name is said here and there."""

    name: str
    here: int
    there: int

    @property
    def change(self) -> int:
        """From there to here: the other collection is the one before."""
        return self.here - self.there

    @property
    def what(self) -> str:
        if not self.there:
            return "new"
        if not self.here:
            return "gone"
        return "more" if self.change > 0 else "less"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the page of a comparison shows."""

    columns: dict[str, Any]
    """Rows by key, in columns: keys, kind, piece and place here, piece and place there (-1 where
    the sample is not), and the aspects that differ as bits."""
    kinds: tuple[int, int, int, int]
    """Samples only here, only there, the same, and differing."""
    aspects: Counter[str]
    """Aspect -> samples that differ in it."""


def compare(here: Iterable[Beliefs], there: Iterable[Beliefs]) -> Comparison:
    """By keys. A key that a collection has twice counts once, as it comes first."""
    own, its = _by_key(here), _by_key(there)
    rows = [
        _row(key, own.get(key), its.get(key))
        for key in [*own, *sorted(key for key in its if key not in own)]
    ]
    kinds = Counter(row[1] for row in rows)
    aspects = Counter(
        name for row in rows for place, name in enumerate(ASPECTS) if row[6] >> place & 1
    )
    names = ("keys", "kinds", "herePiece", "herePlace", "therePiece", "therePlace", "aspects")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    return Comparison(columns, (kinds[0], kinds[1], kinds[2], kinds[3]), aspects)


def name_changes(here: Tally, there: Tally) -> list[NameChange]:
    """Names that are not said equally often, the largest change first."""
    changes = [
        NameChange(name, here.names[name], there.names[name]) for name in here.names | there.names
    ]
    changed = [one for one in changes if one.change]
    return sorted(changed, key=lambda one: (-abs(one.change), one.name))


def _by_key(beliefs: Iterable[Beliefs]) -> dict[str, Beliefs]:
    found: dict[str, Beliefs] = {}
    for one in sorted(beliefs, key=lambda one: (one.piece, one.place)):
        found.setdefault(one.key, one)
    return found


def _row(key: str, own: Beliefs | None, its: Beliefs | None) -> tuple[Any, ...]:
    differing: tuple[int, ...] = ()
    kind = ONLY_HERE if own else ONLY_THERE
    if own and its:
        differing = own.differing(its)
        kind = DIFFERING if differing else SAME
    bits = sum(1 << place for place in differing)
    return said(key, 200), kind, *_place(own), *_place(its), bits


def _place(one: Beliefs | None) -> tuple[int, int]:
    return (one.piece, one.place) if one else (-1, -1)
