"""The card of a pool: one page that tells what is so, in JSON too."""

import json
from pathlib import Path

import numpy as np
import pytest

from opendet.curate.pool import read_pool, write_pool
from opendet.pools.card import card_json, card_of, write_card
from opendet.pools.card_page import card_page
from opendet.pools.origin import Origin, OriginFile, write_origin
from tests.pools.pool_world import CAT, SPOTS, Spot, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "mine", SPOTS, noise=(("zebra", 0),))
    return tmp_path / "mine"


def saved(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def test_the_page_says_what_is_good_and_what_is_not(folder: Path) -> None:
    page = card_page(card_of(folder))
    assert page.startswith("# Prototype pool `mine`\n\n2 coarse and 4 fine prototypes, 4 numbers")
    assert "- **Good:** noise, " in page
    assert "- **To look at:** nothing." in page
    assert "| fine purity | 81.8% | ≥ 70% | good | members that have their prototype's name" in page
    assert "- **kitten** (fine 1, 2 members): 50% its name: cat 1, kitten 1" in page
    assert "- **dog** (fine 2, 4 members): dog 4" in page
    assert "The stage `prototypes` of a build made it, from 12 images." in page
    assert "What purity means here" in page
    assert page.endswith("`.\n")
    assert all(len(line) < 300 for line in page.splitlines())


def test_what_is_to_look_at_stands_with_its_bar(tmp_path: Path) -> None:
    write(tmp_path, SPOTS, noise=(("zebra", 0),) * 20)
    assert "- **To look at:** noise (64.5%, bar ≤ 50%)." in card_page(card_of(tmp_path))


def test_names_that_two_fine_prototypes_have(tmp_path: Path) -> None:
    write(tmp_path, (CAT, Spot("Cats", ("cat",), (0, 1, 0, 0))))
    assert "- **cat** (fine 0, 3 members): 2 fine prototypes" in card_page(card_of(tmp_path))


def test_a_pool_of_before_has_a_card(folder: Path) -> None:
    (folder / "assignments.parquet").unlink()
    card = card_of(folder)
    assert card.images is None
    assert card.least_pure == ()
    page = card_page(card)
    assert "purity" not in page
    assert "- **dog** (fine 2, 4 members): a dog" in page  # what is said of its heart


def test_a_vocabulary_and_vectors_add_to_it(folder: Path, tmp_path: Path) -> None:
    vocabulary = tmp_path / "names.json"
    listed = [
        {"id": 1, "name": "cat", "frequency": "f"},
        {"id": 2, "name": "wolf", "synonyms": ["dog"], "frequency": "r"},
        {"id": 3, "name": "hat", "frequency": "r"},
    ]
    vocabulary.write_text(json.dumps(listed))
    vectors = saved(
        tmp_path / "v.npz",
        emb=np.array([(9, 0, 0, 0), (0, 1, 0, 9), (1, 1, 1, 1)], np.float16),
        names=np.array(["cat", "dog", "whale"]),
    )
    card = card_of(folder, vocabulary=vocabulary, vectors=vectors)
    page = card_page(card)
    assert "| all | 3 | 2 (66.7%) | 2 (66.7%) | 2 (66.7%) |" in page
    assert "| rare | 2 | 1 (50.0%) | 1 (50.0%) | 1 (50.0%) |" in page
    assert card.nearest is not None
    assert (card.nearest.judged, card.nearest.lacking, card.nearest.first) == (2, 1, 0.5)
    assert "| given vectors, nearest name | 50.0% | ≥ 70% | look |" in page
    names = tmp_path / "names.txt"
    names.write_text("cat\nboot|dog\nwhale\n")
    again = card_of(folder, vectors=vectors, names=names).nearest
    assert again is not None
    assert again.first == 1


def test_vectors_of_names_that_the_pool_lacks_are_told(folder: Path, tmp_path: Path) -> None:
    vectors = saved(tmp_path / "v.npz", emb=np.ones((2, 4)), names=np.array(["whale", "wasp"]))
    page = card_page(card_of(folder, vectors=vectors))
    said = "the pool has none of the names of the 2 given vectors"
    assert f"| given vectors, nearest name | none |  |  | {said} |" in page


def test_card_and_json_lie_in_a_folder_and_are_the_same_twice(folder: Path, tmp_path: Path) -> None:
    for out in (tmp_path / "a", tmp_path / "b"):
        card = card_of(folder)
        write_card(out, card, card_page(card))
    assert (tmp_path / "a/card.md").read_bytes() == (tmp_path / "b/card.md").read_bytes()
    assert (tmp_path / "a/card.json").read_bytes() == (tmp_path / "b/card.json").read_bytes()
    found = json.loads((tmp_path / "a/card.json").read_text())
    assert found["measures"]["fine"]["purity"]["members"] == pytest.approx(9 / 11)
    assert found["figures"][0]["what"] == "noise"
    assert found == json.loads(json.dumps(card_json(card)))


def test_where_files_made_it_they_are_named(folder: Path) -> None:
    made = OriginFile("lvis.npy", "ab" * 32, "lvis.json", "cd" * 32, 1203)
    write_origin(folder, Origin((made,), {"coarse": 7, "eps": 0.03}))
    page = card_page(card_of(folder))
    assert "| lvis.npy | 1203 | abababababab | lvis.json |" in page
    assert "Clustered with coarse 7, eps 0.03." in page


def test_hostile_names_make_no_column_and_no_line(tmp_path: Path) -> None:
    bad = "a | b\n# c <b>\u202e"
    write(tmp_path, (Spot(bad, (bad, "x"), (1, 0)), Spot("y", ("y",), (0, 1))))
    page = card_page(card_of(tmp_path))
    assert "**a \\| b # c \\<b>**" in page
    assert "\n# c" not in page
    assert "\u202e" not in page


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.ones((2, 5)), "has vectors of width 5 and the pool's are 4 wide"),
        (np.array([[1, 0, 0, 0], [np.nan] * 4]), "1 of 2 vectors are zero or not finite.* row 1"),
        (np.zeros((2, 4)), "2 of 2 vectors are zero or not finite, the first in row 0"),
    ],
)
def test_vectors_that_do_not_fit_are_one_line(
    folder: Path, tmp_path: Path, rows: np.ndarray, said: str
) -> None:
    path = saved(tmp_path / "v.npz", emb=rows, names=np.array(["cat", "dog"]))
    with pytest.raises(ValueError, match=said) as raised:
        card_of(folder, vectors=path)
    assert "\n" not in str(raised.value)


def test_vectors_without_their_names_are_one_line(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"brings no names of its vectors.*--names"):
        card_of(folder, vectors=tmp_path / "v.npy")
    (tmp_path / "n.txt").write_text("cat\n")
    with pytest.raises(ValueError, match=r"n.txt has 1 names for 2 rows of .*v.npy"):
        card_of(folder, vectors=tmp_path / "v.npy", names=tmp_path / "n.txt")


def test_a_folder_that_is_no_pool_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no pool") as raised:
        card_of(tmp_path)
    assert "\n" not in str(raised.value)


def test_prototypes_that_are_not_finite_are_one_line(folder: Path) -> None:
    pool = read_pool(folder)
    pool.fine[1, 2] = np.nan
    write_pool(folder, pool)
    with pytest.raises(ValueError, match=r"fine prototypes: 1 of 4 vectors .* row 1") as raised:
        card_of(folder)
    assert "\n" not in str(raised.value)
