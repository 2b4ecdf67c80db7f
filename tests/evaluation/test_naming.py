"""Names are read as GenerateU reads them."""

import numpy as np
import pytest

from opendet.evaluation.naming import (
    best_classes,
    class_probabilities,
    classified,
    embed_texts,
    first,
    in_template,
    joined,
)


def test_beams_are_joined_and_cut_before_the_article() -> None:
    assert joined(["sky", "blue sky", "sky is blue"]) == "sky, blue sky, sky is blue"
    assert joined([]) == first([]) == ""
    assert first(["sky", "blue sky"]) == "sky"
    long = in_template(joined(["x" * 50, "y" * 50]), "a {name}")
    assert long == "a " + "x" * 50 + ", " + "y" * 23
    assert len(long) == 77


def test_softmax_worked_by_hand() -> None:
    texts = np.array([[1.0, 0.0]])
    classes = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = class_probabilities(texts, classes, 2.0)
    assert found[0, 0] == pytest.approx(np.exp(2) / (np.exp(2) + 1))
    assert found.sum() == pytest.approx(1.0)
    assert np.isfinite(class_probabilities(texts, classes, 1e6)).all()
    assert class_probabilities(np.zeros((0, 2)), classes, 2.0).shape == (0, 2)


def test_each_detection_counts_for_its_best_classes() -> None:
    boxes_xyxy = np.array([[0, 0, 1, 1.0], [2, 2, 3, 3]])
    found = classified(
        boxes_xyxy, np.array([0.5, 1.0]), np.array([[0.1, 0.2, 0.7], [0.6, 0.4, 0.0]]), top=2
    )
    assert found.classes.tolist() == [2, 1, 0, 1]
    np.testing.assert_allclose(found.scores, [0.35, 0.1, 0.6, 0.4])
    assert found.boxes_xyxy[:, 0].tolist() == [0, 0, 2, 2]


def test_more_classes_asked_than_there_are() -> None:
    assert best_classes(np.array([[0.5, 0.5]]), 15).tolist() == [[0, 1]]


def test_each_text_is_encoded_once() -> None:
    asked: list[str] = []

    def encode(texts):  # type: ignore[no-untyped-def]
        asked.extend(texts)
        return np.array([[float(len(text))] for text in texts])

    vectors = embed_texts(encode, ["aa", "b", "aa"])
    assert asked == ["aa", "b"]
    assert vectors["aa"].tolist() == [2.0]
    assert embed_texts(encode, []) == {}
