"""Names are read as GenerateU reads them, and otherwise only where a rule says so."""

import numpy as np
import pytest

from opendet.evaluation.naming import (
    ReadingRule,
    alternatives,
    best_classes,
    class_cosines,
    class_probabilities,
    classified,
    embed_texts,
    in_template,
    joined,
)
from opendet.evaluation.predictions import ImagePrediction
from opendet.evaluation.reading import Judge


def test_beams_are_joined_and_cut_before_the_article() -> None:
    assert joined(["sky", "blue sky", "sky is blue"]) == "sky, blue sky, sky is blue"
    assert joined([]) == ""
    long = in_template(joined(["x" * 50, "y" * 50]), "a {name}")
    assert long == "a " + "x" * 50 + ", " + "y" * 23
    assert len(long) == 77


def test_softmax_worked_by_hand() -> None:
    found = class_probabilities(np.array([[1.0, 0.0]]), 2.0)
    assert found[0, 0] == pytest.approx(np.exp(2) / (np.exp(2) + 1))
    assert found.sum() == pytest.approx(1.0)
    assert np.isfinite(class_probabilities(np.array([[1.0, 0.0]]), 1e6)).all()
    assert class_probabilities(np.zeros((0, 2)), 2.0).shape == (0, 2)


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


AXES = {"cat": [1.0, 0.0], "dog": [0.0, 1.0], "cat, dog": [0.6, 0.8], "": [0.0, 1.0]}


@pytest.mark.parametrize(
    ("beams_as", "wanted"),
    [
        ("joined", [0.6, 0.8]),
        ("first", [1.0, 0.0]),
        ("mean", [0.5, 0.5]),
        ("max", [1.0, 1.0]),
    ],
)
def test_ways_to_read_beams(beams_as: str, wanted: list[float]) -> None:
    rule = ReadingRule(beams=beams_as)  # type: ignore[arg-type]
    vectors = {text: np.array(vector) for text, vector in AXES.items()}
    texts = [rule.texts(["cat", "dog"]), rule.texts([])]
    found = class_cosines(texts, vectors, np.eye(2), rule)
    np.testing.assert_allclose(found, [wanted, [0.0, 1.0]])
    assert class_cosines([], vectors, np.eye(2), rule).shape == (0, 2)


def test_alternatives_differ_in_one_thing() -> None:
    rule = ReadingRule()
    others = alternatives(rule, (100.0, 50.0))
    assert set(others) == {"first", "mean", "max", "top_1", "temperature_50"}
    for other in others.values():
        names = ("beams", "top_classes", "temperature")
        assert sum(getattr(other, name) != getattr(rule, name) for name in names) == 1


def test_generateus_protocol_written_out() -> None:
    """A.6 of the specification, step by step, for one image of three detections."""
    rng = np.random.default_rng(0)
    names = [f"class {number}" for number in range(40)]
    beams = (("class 3", "thing", "class 9"), ("y" * 60, "class 1 and more"), ("class 39",))
    space = {
        text: row / np.linalg.norm(row)
        for text, row in zip(
            [f"a {name}" for name in names]
            + ["a class 3, thing, class 9", f"a {'y' * 60}, class 1 and m", "a class 39"],
            rng.normal(size=(43, 8)),
            strict=True,
        )
    }
    space["a class 39"] = space["a class 39"]  # a class's own text: the nearest by far
    boxes_xyxy, scores = rng.uniform(0, 100, (3, 4)), np.array([0.9, 0.5, 0.0])
    judge = Judge.of(lambda texts: np.stack([space[text] for text in texts]), names, "a {name}")
    [[reading]] = judge.read([ImagePrediction("k", boxes_xyxy, scores, beams)], [ReadingRule()])

    rows = []
    for number, own in enumerate(beams):
        text = "a " + ", ".join(own)[:75]
        products = np.array([100 * space[text] @ space[f"a {name}"] for name in names])
        similarity = np.exp(products) / np.exp(products).sum()
        best = sorted(range(40), key=lambda c: -similarity[c])[:15]
        rows += [(number, c, scores[number] * similarity[c]) for c in best]
    found = reading.predictions
    assert len(found.scores) == 3 * 15
    assert found.classes.tolist() == [c for _, c, _ in rows]
    np.testing.assert_allclose(found.scores, [score for _, _, score in rows])
    np.testing.assert_array_equal(found.boxes_xyxy, boxes_xyxy[[number for number, _, _ in rows]])
    assert reading.nearest[2] == 39


def test_texts_of_several_readings_are_encoded_once() -> None:
    asked: list[str] = []

    def encode(texts):  # type: ignore[no-untyped-def]
        asked.extend(texts)
        return np.stack([np.array(AXES[text]) for text in texts])

    judge = Judge(encode, np.eye(2), "{name}")
    one = ImagePrediction("k", np.zeros((1, 4)), np.ones(1), (("cat", "dog"),))
    readings = judge.read([one], [ReadingRule(beams=b) for b in ("joined", "first", "mean")])
    assert sorted(asked) == ["cat", "cat, dog", "dog"]
    assert [int(own[0].nearest[0]) for own in readings] == [1, 0, 0]


def test_a_tower_of_another_width_is_one_line() -> None:
    judge = Judge(lambda texts: np.ones((len(texts), 512)), np.eye(768), "a {name}")
    one = ImagePrediction("k", np.zeros((1, 4)), np.ones(1), (("cat",),))
    with pytest.raises(ValueError, match="class vectors are 768 wide and the text tower's 512"):
        judge.read([one], [ReadingRule()])
