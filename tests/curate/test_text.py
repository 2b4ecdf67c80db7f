"""Text from elsewhere: cleaned, cut at sentences, and names read from answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendet.curate.text import clean_text, cut_at_sentence, joined_sentences, short_name


def test_control_characters_and_direction_marks_go() -> None:
    assert clean_text(" a\x00 red\x1b[31m\n\n\tstar\u202e \ufeff") == "a red[31m star"
    assert clean_text("ein grüner Stern 星 👩\u200d🚀") == "ein grüner Stern 星 👩\u200d🚀"
    assert clean_text("\x00\u200b \n") == ""


@given(st.text())
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once
    assert once.isprintable() or any(ord(one) > 127 for one in once)


@given(st.text(alphabet="ab .!?", max_size=80), st.integers(1, 60))
def test_a_cut_text_fits_and_is_a_beginning(text: str, most: int) -> None:
    cut = cut_at_sentence(text, max_characters=most)
    assert len(cut) <= most
    assert text.startswith(cut)


def test_cuts_are_at_sentences_then_at_words() -> None:
    text = "A red star. It is 1.5 m wide! And more words"
    assert cut_at_sentence(text, max_characters=40) == "A red star. It is 1.5 m wide!"
    assert cut_at_sentence(text, max_characters=20) == "A red star."
    assert cut_at_sentence(text, max_characters=8) == "A red"
    assert cut_at_sentence("abcdefgh", max_characters=5) == "abcde"
    assert cut_at_sentence(text, max_characters=100) == text


def test_captions_are_joined_as_sentences() -> None:
    assert joined_sentences(("A dog", "\x00", " Two cats! ")) == "A dog. Two cats!"
    assert joined_sentences(()) == ""


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("This is a red mug on a table.", "red mug"),
        ("A red striped star in the lower left, next to a ring", "red striped star"),
        ("The main object in this region is an Umbrella. It is blue.", "umbrella"),
        ("I can see the cup of coffee", "cup of coffee"),
        ('"Fire hydrant"', "fire hydrant"),
        ("There is a close-up of a dog that barks", "dog"),
        ("red mug - ceramic, shiny", "red mug"),
        ("a very long name of far too many words here", "very long name of far"),
        ("a", ""),
        ("The", ""),
        ("", ""),
        ("...", ""),
    ],
)
def test_names_in_answers(answer: str, name: str) -> None:
    assert short_name(answer, max_words=5) == name
