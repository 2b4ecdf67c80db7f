"""Class vectors from files: the published ones of CLIP ViT-B/32, and what is none."""

import json
from pathlib import Path

import numpy as np
import pytest

from opendet.evaluation.class_vectors import read_class_vectors
from opendet.evaluation.naming import ReadingRule
from opendet.evaluation.predictions import ImagePrediction
from opendet.evaluation.reading import Judge


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("lvis_v1_clip_a+cname.npy", 1203),
        ("o365_clip_a+cnamefix.npy", 365),
        ("oid_clip_a+cname.npy", 500),
        ("coco_clip_a+cname.npy", 80),
    ],
)
def test_published_vectors(shared_data: Path, file: str, names: int) -> None:
    rows = read_class_vectors(shared_data / "vocabularies" / "clip_vitb32_text" / file, names=names)
    assert rows.shape == (names, 512)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1)


def test_lvis_is_read_by_its_real_vectors(shared_data: Path) -> None:
    """Words that are class names: every class is its own best, 15 classes and no more."""
    folder = shared_data / "vocabularies"
    listed = json.loads((folder / "lvis_v1_train_cat_info.json").read_text())
    names = [one["name"].replace("_", " ") for one in sorted(listed, key=lambda one: one["id"])]
    classes = read_class_vectors(
        folder / "clip_vitb32_text" / "lvis_v1_clip_a+cname.npy", names=1203
    )
    known = {f"a {name}": row for name, row in zip(names, classes, strict=True)}

    def encode(texts):  # type: ignore[no-untyped-def]
        return np.stack([known[text] for text in texts])

    judge = Judge(encode, classes, "a {name}")
    chosen = np.arange(0, 1203, 13)
    said = tuple((names[number],) for number in chosen)
    found = ImagePrediction("k", np.zeros((len(said), 4)), np.ones(len(said)), said)
    [[reading]] = judge.read([found], [ReadingRule()])
    assert reading.nearest.tolist() == chosen.tolist()
    assert len(reading.predictions.scores) == 15 * len(said)
    best = reading.predictions.scores.reshape(-1, 15)[:, 0]
    assert best.min() > 1 / 15  # a temperature of 100 tells 1203 real names apart
    assert best.max() < 1


def test_real_words_fall_to_their_neighbours(shared_data: Path) -> None:
    """COCO's names, read as LVIS's classes by vectors that two files hold of one space."""
    folder = shared_data / "vocabularies"
    vectors = folder / "clip_vitb32_text"
    listed = json.loads((folder / "lvis_v1_train_cat_info.json").read_text())
    names = [one["name"] for one in sorted(listed, key=lambda one: one["id"])]
    lvis = read_class_vectors(vectors / "lvis_v1_clip_a+cname.npy", names=1203)
    coco = read_class_vectors(vectors / "coco_clip_a+cname.npy", names=80)
    words = json.loads((folder / "coco80_names.json").read_text())
    space = {f"a {word}": row for word, row in zip(words, coco, strict=True)}
    judge = Judge(lambda texts: np.stack([space[text] for text in texts]), lvis, "a {name}")
    said = tuple((word,) for word in words)
    found = ImagePrediction("k", np.zeros((80, 4)), np.ones(80), said)
    [[reading]] = judge.read([found], [ReadingRule()])
    shared = [(word, number) for number, word in enumerate(words) if word in names]
    right = [names[reading.nearest[number]] == word for word, number in shared]
    assert len(shared) > 30
    assert np.mean(right) > 0.9


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.ones((3, 4)), "has 3 rows for 2 categories: it is of another vocabulary"),
        (np.zeros((2, 4)), "rows that are zero or not finite"),
        (np.full((2, 4), np.nan), "rows that are zero or not finite"),
        (np.ones(2), "holds no matrix of floats"),
        (np.array([["a", "b"], ["c", "d"]]), "holds no matrix of floats"),
    ],
)
def test_files_that_are_no_class_vectors(tmp_path: Path, rows: np.ndarray, said: str) -> None:
    np.save(tmp_path / "w.npy", rows)
    with pytest.raises(ValueError, match=said):
        read_class_vectors(tmp_path / "w.npy", names=2)


def test_files_that_are_away_or_pickles(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"w\.npy is missing"):
        read_class_vectors(tmp_path / "w.npy", names=2)
    (tmp_path / "w.npy").write_bytes(b"\x80\x04no")
    with pytest.raises(ValueError, match=r"w\.npy is no NumPy array of numbers"):
        read_class_vectors(tmp_path / "w.npy", names=2)
    np.save(tmp_path / "w.npy", np.array([{}, {}], object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"w\.npy is no NumPy array of numbers"):
        read_class_vectors(tmp_path / "w.npy", names=2)
