"""Noun phrases: spans of any caption, and those of real ones."""

import json
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from opendet.annotators.noun_phrases import NounPhrases, Span, longest_apart

GRAMMAR = NounPhrases("grammar")


@cache
def by_nltk(folder: Path) -> NounPhrases:
    return NounPhrases("nltk", folder)


def texts(caption: str, find: NounPhrases = GRAMMAR) -> list[str]:
    return [caption[span.start : span.end] for span in find(caption)]


def chunks_found(find: NounPhrases, shared_data: Path) -> tuple[int, int, int]:
    """Noun chunks of the real captions: found among them, annotated, found at all."""
    images = json.loads((shared_data / "coco_entities/coco_entities_samples.json").read_text())
    hit = annotated = found = 0
    for image in images.values():
        for caption, entities in image["captions"].items():
            phrases = [text.lower().replace("-", "") for text in texts(caption, find)]
            found += len(phrases)
            for chunk, _ in entities["noun_chunks"]:
                annotated += 1
                if chunk in phrases:
                    phrases.remove(chunk)
                    hit += 1
    return hit, annotated, found


def check_spans(caption: str, spans: tuple[Span, ...]) -> None:
    end = 0
    for span in spans:
        assert end <= span.start < span.end <= len(caption)
        assert caption[span.start : span.end].strip() == caption[span.start : span.end]
        end = span.end


@pytest.mark.parametrize(
    ("caption", "phrases"),
    [
        ("", []),
        ("Two red stars sit above a blue ring.", ["Two red stars", "a blue ring"]),
        ("an orange striped star and an orange", ["an orange striped star", "an orange"]),
        ("a black and white cat on the man's bed", ["a black and white cat", "the man", "bed"]),
        ("It is very red and they don't run.", []),
        ("a very large dog walks; one of the dogs sleeps", ["a very large dog", "the dogs"]),
        ("filled with mixed vegetables", ["mixed vegetables"]),
        ("all the plain crosses lie to the left", ["all the plain crosses", "the left"]),
        ("ein Übergröße-Schild, 「猫」", ["ein Übergröße-Schild", "猫"]),
    ],
)
def test_phrases_by_the_grammar(caption: str, phrases: list[str]) -> None:
    assert texts(caption) == phrases


def test_the_grammar_finds_the_noun_chunks_of_real_captions(shared_data: Path) -> None:
    hit, annotated, found = chunks_found(GRAMMAR, shared_data)
    assert annotated == 68
    assert hit == 68
    assert found == 68


def test_nltk_finds_the_noun_chunks_of_real_captions(shared_data: Path) -> None:
    hit, annotated, found = chunks_found(by_nltk(shared_data / "nltk_data"), shared_data)
    assert hit >= 66
    assert found <= annotated


def test_nltk_and_the_grammar_say_who_they_are(shared_data: Path) -> None:
    assert by_nltk(shared_data / "nltk_data").revision.startswith("nltk 3.")
    assert GRAMMAR.revision == "grammar 1"
    caption = "A woman in sunglasses is riding two horses on the beach."
    assert texts(caption, by_nltk(shared_data / "nltk_data")) == [
        "A woman",
        "sunglasses",
        "two horses",
        "the beach",
    ]


@given(st.text())
@example("İstanbul'un ǅ ﬁsh ﬃ")
@example("a\u0301 red \u200d star\x00 of the 1\u2044\u2082 dogs n't")
@example("'s 's ’s - -- a-b_c's n’t couldn't")
def test_spans_are_inside_ordered_and_apart(caption: str) -> None:
    check_spans(caption, GRAMMAR(caption))


WORDS = "a the two red striped star dogs and or , . 's is very parked laughing of orange it 猫 Ünal"


@given(st.lists(st.sampled_from(WORDS.split())).map(" ".join))
def test_spans_of_word_salad(caption: str) -> None:
    spans = GRAMMAR(caption)
    check_spans(caption, spans)
    assert longest_apart(spans) == spans
    # a phrase stands on its own: what was found is found again in its own text
    for span in spans:
        text = caption[span.start : span.end]
        if not text.startswith(("parked", "laughing")):
            assert texts(text) == [text]


@settings(max_examples=60)
@given(caption=st.text() | st.lists(st.sampled_from(WORDS.split())).map(" ".join))
def test_spans_by_nltk(caption: str, shared_data: Path) -> None:
    check_spans(caption, by_nltk(shared_data / "nltk_data")(caption))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10))))
def test_the_longest_of_overlapping_spans_stay(pairs: list[tuple[int, int]]) -> None:
    spans = [Span(start, start + length) for start, length in pairs]
    kept = longest_apart(spans)
    assert all(first.end <= second.start for first, second in pairwise(kept))
    assert longest_apart(reversed(spans)) == kept
    for span in spans:  # whatever went had to make way for something at least as long
        rivals = [one for one in kept if one.start < span.end and span.start < one.end]
        assert max(one.end - one.start for one in rivals) >= span.end - span.start


def test_nested_and_equal_spans() -> None:
    assert longest_apart([Span(4, 6), Span(0, 6), Span(0, 6), Span(5, 9)]) == (Span(0, 6),)


def test_missing_data_are_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nltk.data

    monkeypatch.setattr(nltk.data, "path", [])
    assert NounPhrases("auto", tmp_path).revision == "grammar 1"
    with pytest.raises(ValueError, match=r"punkt_tab is missing: run .* or set") as caught:
        NounPhrases("nltk", tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"regions\.nltk_folder: there is no folder"):
        NounPhrases("auto", tmp_path / "nowhere")
