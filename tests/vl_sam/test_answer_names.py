"""Names in answers, with their places; questions that a model writes itself."""

from opendet.annotators.noun_phrases import NounPhrases
from opendet.vl_sam.naming import described_names, listed_names, own_questions


def said(text: str, *, unfinished: bool = False) -> tuple[dict[str, str], int]:
    found, unplaced = listed_names(text, unfinished=unfinished)
    return {name: text[one.start : one.end] for name, one in found.items()}, unplaced


def test_lists_in_any_form() -> None:
    assert said("A dog, two cats and a red_fire truck.") == (
        {"dog": "dog", "cats": "cats", "red fire truck": "red_fire truck"}, 0,
    )  # fmt: skip
    assert said("1. **Dog**: brown\n2. The Cat") == ({"dog": "Dog", "cat": "Cat"}, 0)
    assert said('["dog", "traffic light"]')[0] == {"dog": "dog", "traffic light": "traffic light"}


def test_the_last_name_of_a_cut_answer_goes() -> None:
    assert said("dog, cat, pers", unfinished=True) == ({"dog": "dog", "cat": "cat"}, 0)


def test_nothing_is_named() -> None:
    for answer in ("", "None.", "I'm sorry, I cannot see any image.", "]", "12 - ?"):
        assert said(answer) == ({}, 0), answer


def test_a_name_that_the_answer_says_otherwise_is_counted() -> None:
    text = "a d\u200bog, a cat"
    assert said(text) == ({"cat": "cat"}, 1)


def test_descriptions_are_read_by_their_noun_phrases() -> None:
    text = "The image shows two brown dogs beside a tree. A dog sleeps under the tree."
    found = described_names(text, NounPhrases("grammar"))
    assert {name: text[one.start : one.end] for name, one in found.items()} == {
        "brown dogs": "two brown dogs", "tree": "a tree", "dog": "A dog",
    }  # fmt: skip
    assert described_names("", NounPhrases("grammar")) == {}


def test_a_models_own_questions_are_its_lines() -> None:
    answer = """Sure! Here they are:
    1. What objects can you see?
    2. "Name everything in this picture."
    - What objects can you see?
    Yes.
    * Which things are on the ground?
    """
    assert own_questions(answer, 10) == (
        "What objects can you see?",
        "Name everything in this picture.",
        "Which things are on the ground?",
    )
    assert own_questions(answer, 1) == ("What objects can you see?",)
    assert own_questions("", 3) == ()
