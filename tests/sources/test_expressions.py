"""Expressions, joined: every phrase keeps its words."""

from hypothesis import given
from hypothesis import strategies as st

from opendet.sources.expressions import Expression, expression_of, joined
from opendet.sources.listing import AnnotatedPhrase


def test_sentences_follow_each_other() -> None:
    caption, phrases = joined([expression_of("left man", [0]), expression_of("Red one!", [2, 1])])
    assert caption == "left man. Red one!"
    assert phrases == (AnnotatedPhrase(0, 8, (0,)), AnnotatedPhrase(10, 18, (2, 1)))


def test_nothing_is_said_twice_of_one_box() -> None:
    man = expression_of("man", [0])
    assert joined([man, man])[0] == "man."
    assert joined([man, expression_of("man", [1])])[0] == "man. man."
    assert joined([expression_of(" \n", [0])]) == ("", ())


@given(st.lists(st.tuples(st.text("ab. \n", max_size=5), st.integers(0, 3)), max_size=6))
def test_spans_hold_the_words(said: list[tuple[str, int]]) -> None:
    expressions = [expression_of(text, [box]) for text, box in said]
    caption, phrases = joined(expressions)
    found = [(caption[phrase.start : phrase.end], phrase.boxes) for phrase in phrases]
    kept = dict.fromkeys((e.text, e.phrases[0].boxes) for e in expressions if e.text)
    assert found == list(kept)


def test_an_expression_may_have_several_phrases() -> None:
    two = Expression("man on horse", (AnnotatedPhrase(0, 3, (0,)), AnnotatedPhrase(7, 12, (1,))))
    caption, phrases = joined([expression_of("sky", [2]), two])
    assert [caption[phrase.start : phrase.end] for phrase in phrases] == ["sky", "man", "horse"]
