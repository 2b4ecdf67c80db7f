"""Types, bounds and defaults in words."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from opendet.reference.attribute_texts import attribute_texts
from opendet.reference.field_words import bounds, default_words, type_words
from opendet.reference.markdown_text import anchor, escaped, table
from opendet.section import Section


class Inner(Section):
    """What is inside."""

    side: int = Field(default=3, ge=1, lt=9)
    """Pixels."""
    words: tuple[str, ...] = Field(default=("a", "b"), min_length=1)


class Outer(Section):
    """What is outside."""

    inner: Inner = Inner()
    bigger: Inner = Inner(side=5)
    must: Path
    text: str = Field("x" * 100, pattern="^x")


class Told:
    """A class with fields."""

    one: int
    """Of the first."""
    two: str = ""
    three: float = 0.0
    """Of the third,
    in two lines."""


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "whole number"),
        (str | None, "text, or `null`"),
        (Literal["a", 1], "`a`, `1`"),
        (tuple[float, float], "list of 2 numbers"),
        (tuple[Annotated[int, Field(gt=0)], ...], "list of whole numbers > 0"),
        (list[Path], "list of paths"),
        (dict[str, tuple[bool, ...]], "keys: text; values: list of `true` or `false`"),
        (tuple[Inner, ...], "list of HERE"),
    ],
)
def test_types(annotation: Any, words: str) -> None:
    assert type_words(annotation, {Inner: "HERE"}) == words


def test_bounds_and_defaults() -> None:
    inner, outer = Inner.model_fields, Outer.model_fields
    assert bounds(inner["side"].metadata) == ["≥ 1", "< 9"]
    assert bounds(inner["words"].metadata) == ["at least 1 long"]
    assert bounds(outer["text"].metadata) == ["matching `^x`"]
    assert default_words(inner["words"]) == '`["a", "b"]`'
    assert default_words(outer["inner"]) == ""
    assert default_words(outer["bigger"]) == "side: `5`"
    assert default_words(outer["must"]) == "**required**"
    assert default_words(outer["text"]).endswith("…`")


def test_docstrings_of_fields() -> None:
    assert attribute_texts(Told) == {
        "one": "Of the first.",
        "two": "",
        "three": "Of the third,\n    in two lines.",
    }


def test_docstrings_become_no_markup() -> None:
    assert escaped("a <b> * c `<d> *`\n  e") == r"a &lt;b> \* c `<d> *` e"
    assert escaped("A head\n(spec/open_det.md A.2, A.3); more.") == "A head; more."
    assert table(("k",), [("`a | b`",)]).splitlines()[2] == r"| `a \| b` |"
    assert anchor("regions.detectors, annotator: zero_shot") == (
        "regionsdetectors-annotator-zero_shot"
    )
