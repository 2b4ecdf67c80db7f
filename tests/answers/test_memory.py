"""Only what nobody has asked yet reaches the model."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from opendet.answers.memory import AnswerPlace, Memory, counted
from opendet.answers.store import question_key

KIND = {"model": "m"}


class Model:
    """Answers a word by its capitals, refuses numbers, and writes down what it was asked."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __call__(self, place: AnswerPlace, words: Sequence[str]) -> list[str | None]:
        def ask(places: Sequence[int]) -> list[str | None]:
            asked = [words[place] for place in places]
            self.heard += asked
            return [None if word.isdigit() else word.upper() for word in asked]

        return Memory(place, KIND).recall(
            [question_key(word=word) for word in words],
            ask,
            to_json=lambda answer: answer and [answer],
            from_json=lambda value: value[0],
        )


def test_a_question_is_asked_once(tmp_path: Path):
    place, model = AnswerPlace(tmp_path / "store", tmp_path / "counts"), Model()
    assert model(place, ["a", "b", "a"]) == ["A", "B", "A"]
    assert model(place, ["c", "b", "a"]) == ["C", "B", "A"]
    assert model.heard == ["a", "b", "c"]
    assert counted(tmp_path / "counts") == {"asked": 3, "remembered": 3}


def test_what_may_be_answered_tomorrow_is_asked_again(tmp_path: Path):
    place, model = AnswerPlace(tmp_path), Model()
    assert model(place, ["1", "a"]) == model(place, ["1", "a"]) == [None, "A"]
    assert model.heard == ["1", "a", "1"]


def test_without_a_store_each_call_asks_its_questions_once():
    model = Model()
    assert model(AnswerPlace(), ["a", "a"]) == model(AnswerPlace(), ["a", "a"]) == ["A", "A"]
    assert model.heard == ["a", "a"]


def test_nothing_is_asked_of_nobody(tmp_path: Path):
    model = Model()
    assert model(AnswerPlace(tmp_path, tmp_path / "counts"), []) == []
    assert counted(tmp_path / "counts") == {"asked": 0, "remembered": 0}
    assert counted(tmp_path / "none") == {}


def test_what_was_answered_before_a_failure_is_kept(tmp_path: Path):
    place, model = AnswerPlace(tmp_path), Model()
    model(place, ["a"])

    def fail(_: Sequence[int]) -> list[str]:
        raise ConnectionError("gone")

    memory = Memory(place, KIND)
    keys = [question_key(word="a"), question_key(word="b")]
    with pytest.raises(ConnectionError):
        memory.recall(keys, fail, to_json=lambda one: one, from_json=lambda one: one[0])
    assert model(place, ["a", "b"]) == ["A", "B"]
    assert model.heard == ["a", "b"]
