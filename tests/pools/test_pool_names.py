"""Vocabularies from files, and when a prototype covers a name."""

import json
from pathlib import Path

import pytest

from opendet.pools.names import plain, without_gloss
from opendet.pools.vocabulary import Coverage, Entry, coverage, read_vocabulary


@pytest.mark.parametrize(
    ("one", "other"),
    [("Roller skates", "roller_skate"), ("the Cats", "cat"), ("flip-flop", "Flip flops")],
)
def test_one_name_by_its_lemmas(one: str, other: str) -> None:
    assert plain(one) == plain(other)


def test_a_gloss_is_no_part_of_what_people_say() -> None:
    assert without_gloss(plain("crab_(animal)")) == plain("Crab")
    assert without_gloss("crab") == "crab"


def saved(path: Path, value: object) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_lvis_categories_in_the_order_of_their_ids(tmp_path: Path) -> None:
    listed = [
        {"id": 2, "name": "cat", "frequency": "f", "synonyms": ["cat", "house_cat"]},
        {"id": 1, "name": "bow_(weapon)", "frequency": "r", "synonyms": ["bow_(weapon)"]},
    ]
    assert read_vocabulary(saved(tmp_path / "lvis.json", listed)) == (
        Entry("bow (weapon)", (), "rare"),
        Entry("cat", ("house cat",), "frequent"),
    )


def test_lists_objects_and_lines_of_names(tmp_path: Path) -> None:
    wanted = (Entry("cat"), Entry("traffic light"))
    categories = [{"id": 0, "name": "cat"}, {"id": 1, "name": "traffic_light"}]
    for name, value in (
        ("list.json", ["cat", "traffic_light"]),
        ("coco.json", {"categories": categories, "images": []}),
        ("names.txt", "# mine\ncat\n\n  traffic light\n"),
    ):
        assert read_vocabulary(saved(tmp_path / name, value)) == wanted


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("a.json", {"v1": []}, "is no list of names: it is an object without `categories` .*v1"),
        ("a.json", [1, 2], "is no list of names: 0: "),
        ("a.json", 7, "is no list of names: its root: "),
        ("a.json", [], "names nothing"),
        ("a.txt", "\n# nothing\n", "names nothing"),
        ("a.txt", "x" * 101, "is no list of names, one a line: 'x.* has 101 characters"),
        ("a.json", "{", "a.json: its root: "),
    ],
)
def test_a_vocabulary_of_another_kind_is_one_line(
    tmp_path: Path, name: str, value: object, said: str
) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        read_vocabulary(saved(tmp_path / name, value))
    assert "\n" not in str(raised.value)


def test_a_missing_or_binary_vocabulary_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    for path, said in ((tmp_path / "a.txt", "is no text"), (tmp_path / "b.txt", "is missing")):
        with pytest.raises(ValueError, match=said) as raised:
            read_vocabulary(path)
        assert "\n" not in str(raised.value)


def test_coverage_by_hand() -> None:
    entries = (
        Entry("crab (animal)", (), "rare"),
        Entry("soda", ("pop", "cola"), "rare"),
        Entry("cat", (), "frequent"),
        Entry("zebra", (), "frequent"),
    )
    assert coverage(entries, ["Cats", "sofa"], ["crab", "cola"]) == (
        Coverage("all", 4, coarse=1, fine=2, either=3),
        Coverage("rare", 2, coarse=0, fine=2, either=2),
        Coverage("frequent", 2, coarse=1, fine=0, either=1),
    )


def test_the_real_lvis(shared_data: Path) -> None:
    path = shared_data / "vocabularies" / "lvis_v1_train_cat_info.json"
    if not path.is_file():
        pytest.skip(f"no {path}")
    entries = read_vocabulary(path)
    found = {one.tier: one.entries for one in coverage(entries, [], [])}
    assert found == {"all": 1203, "rare": 337, "common": 461, "frequent": 405}
    every = coverage(
        entries, [], [one.synonyms[0] if one.synonyms else one.name for one in entries]
    )
    assert {one.fine == one.entries for one in every} == {True}
