"""A pool's card as Markdown: a page that reads as text, too."""

import re
from collections.abc import Iterable, Iterator, Sequence

from opendet.console import printable
from opendet.pools.card import Card, Example
from opendet.pools.figures import Figure

_MARKS = re.compile(r"[|`*]|<(?=[A-Za-z/!])")
"""What would be a column, code, bold or a tag in Markdown."""
_PURITY = """\
A member is pure where its prototype has its name; a prototype's name is that of its medoid, the
member nearest to it. Names are compared by their lemmas, letter case, hyphens and underscores
aside, so that `Roller skates` is `roller_skate`; `cat` and `kitten` stay two names, and a prototype
that holds both is only half pure, however sensible it is. Purity alone is cheap: a prototype for
each vector is pure. So completeness stands beside it, which falls when a name is spread over
several prototypes, and V-measure, the harmonic mean of homogeneity and completeness."""


def card_page(card: Card) -> str:
    return "\n".join(_lines(card)).rstrip() + "\n"


def _lines(card: Card) -> Iterator[str]:
    yield f"# Prototype pool `{_said(card.pool)}`"
    yield ""
    yield _summary(card)
    yield ""
    yield from _verdict(card.figures)
    yield ""
    yield "## Its health"
    yield ""
    yield from _table(("", "value", "bar", "", "what it is"), map(_figure_row, card.figures))
    yield ""
    yield "The bars are rules of thumb: they say where to look."
    yield ""
    if card.measures.coarse.purity is not None:
        yield "## What purity means here"
        yield ""
        yield _PURITY
        yield ""
    yield from _coverage(card)
    yield "## Examples"
    yield ""
    yield from _examples("The largest", card.largest)
    yield from _examples("The least pure", card.least_pure)
    yield from _examples("Names that several fine prototypes have", card.shared_names)
    yield "## What it was made from"
    yield ""
    yield from _origin(card)


def _summary(card: Card) -> str:
    health = card.health
    left_out = health.left_out_not_finite + health.left_out_zero
    told = (
        f"{health.coarse} coarse and {health.fine} fine prototypes, {card.width} numbers wide, of "
        f"{health.vectors} vectors with {health.names} different names"
    )
    if left_out:
        told += f"; {left_out} vectors that were zero or not finite were left out"
    return told + "."


def _verdict(found: Sequence[Figure]) -> Iterator[str]:
    """What is good, and what is not, by the bars."""
    good = [one.what for one in found if one.holds]
    bad = [f"{one.what} ({one.value}, bar {one.bar})" for one in found if one.holds is False]
    if good:
        yield f"- **Good:** {', '.join(good)}."
    yield f"- **To look at:** {', '.join(bad)}." if bad else "- **To look at:** nothing."


def _figure_row(one: Figure) -> tuple[str, ...]:
    mark = {True: "good", False: "look", None: ""}[one.holds]
    return one.what, one.value, one.bar, mark, one.means


def _coverage(card: Card) -> Iterator[str]:
    if not card.coverage:
        return
    yield f"## How much of `{_said(card.vocabulary)}` it covers"
    yield ""
    rows = (
        (one.tier, str(one.entries), *(_part(count, one.entries) for count in counts))
        for one in card.coverage
        for counts in ((one.fine, one.coarse, one.either),)
    )
    yield from _table(("tier", "entries", "by a fine one", "by a coarse one", "by either"), rows)
    yield ""
    yield "An entry is covered where a prototype has its name or one of its synonyms."
    yield ""


def _part(count: int, whole: int) -> str:
    return f"{count} ({count / whole:.1%})"


def _examples(title: str, found: Sequence[Example]) -> Iterator[str]:
    if not found:
        return
    yield f"{title}:"
    yield ""
    for one in found:
        note = f": {_said(one.note)}" if one.note else ""
        yield f"- **{_said(one.name)}** ({one.level} {one.row}, {_members(one)}){note}"
    yield ""


def _members(one: Example) -> str:
    return f"{one.size} member{'' if one.size == 1 else 's'}"


def _origin(card: Card) -> Iterator[str]:
    if card.origin is None:
        told = "The stage `prototypes` of a build made it"
        yield f"{told}, from {card.images} images." if card.images is not None else f"{told}."
    else:
        rows = (
            (one.vectors, str(one.rows), one.sha256[:12], one.names or "its own")
            for one in card.origin.files
        )
        yield from _table(("vectors", "rows", "SHA-256", "names"), rows)
        settings = ", ".join(f"{name} {value}" for name, value in card.origin.settings.items())
        yield ""
        yield f"Clustered with {settings}."
    yield ""
    yield f"SHA-256 of its vectors: `{card.digest}`."


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield "|" + " --- |" * len(columns)
    for row in rows:
        yield f"| {' | '.join(map(_said, row))} |"


def _said(text: str) -> str:
    """Names are the data's: no line break, no column and no tag of their own."""
    return _MARKS.sub(r"\\\g<0>", " ".join(printable(text).split()))
