"""GenerateU's files: the names are in the annotations, synonyms behind a comma."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendet.sources.generateu import list_generateu, synonyms_of
from opendet.sources.listing import AnnotatedBox, Entry


def world() -> dict[str, Any]:
    return {
        "images": [
            {"id": 1, "file_name": "VG_100K/1.jpg", "width": 20, "height": 10},
            {"id": 2, "file_name": "VG_100K/2.jpg", "width": 20, "height": 10},
        ],
        "categories": [{"id": 1, "name": "object"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [1, 2, 3, 4],
                "object_name": "sneaker, gym shoe, shoe",
            },
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "object_name": "dog"},
        ],
    }


def listed(folder: Path, data: Any) -> list[Entry]:
    (folder / "train.json").write_text(json.dumps(data), "utf-8")
    return list_generateu(folder, batch="b", images="images", annotations="train.json")


def test_the_first_name_is_the_label(tmp_path: Path) -> None:
    first, second = listed(tmp_path, world())
    assert first.annotations == (
        AnnotatedBox((1, 2, 4, 6), "sneaker", other_labels=("gym shoe", "shoe")),
        AnnotatedBox((0, 0, 9, 9), "dog"),
    )
    assert (first.file, first.declared_size) == ("images/VG_100K/1.jpg", (20, 10))
    assert second.annotations == ()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("dog", ("dog",)),
        ("dog, dog, cat", ("dog", "cat")),
        ("dog, , cat, ", ("dog", "cat")),
        ("1,000 islands", ("1,000 islands",)),
        ("", ("",)),
        (", ", ("",)),
    ],
)
def test_synonyms(text: str, names: tuple[str, ...]) -> None:
    assert synonyms_of(text) == names


@given(st.lists(st.text("abc -", min_size=1).map(str.strip).filter(bool), min_size=1, unique=True))
def test_names_come_back(names: list[str]) -> None:
    assert synonyms_of(", ".join(names)) == tuple(names)


def test_the_category_says_nothing(tmp_path: Path) -> None:
    data = world()
    data["annotations"][0]["category_id"] = 77
    del data["annotations"][1]["category_id"], data["categories"]
    assert listed(tmp_path, data) == listed(tmp_path, world())


def test_nan_is_read_and_judged_later(tmp_path: Path) -> None:
    data = world()
    data["annotations"][0]["bbox"][0] = math.nan
    assert math.isnan(listed(tmp_path, data)[0].annotations[0].box_xyxy[0])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["annotations"][1].pop("object_name"), r"annotations\.1\.object_name: Field"),
        (lambda d: d["annotations"][1].update(object_name=3), r"annotations\.1\.object_name"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2, 3]), r"annotations\.0\.bbox"),
        (lambda d: d["images"][1].update(id=1), r"images\.1\.id 1 belongs to 'VG_100K/1\.jpg'"),
        (lambda d: d.pop("images"), "images: Field required"),
    ],
)
def test_a_wrong_structure_names_file_and_place(tmp_path: Path, change: Any, says: str) -> None:
    data = world()
    change(data)
    with pytest.raises(ValueError, match=rf"train\.json: {says}") as caught:
        listed(tmp_path, data)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_one_that_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train\.json is missing: mend the batch"):
        list_generateu(tmp_path, batch="b", images="", annotations="train.json")
    (tmp_path / "train.json").write_bytes(b"\x80\x04pickled")
    with pytest.raises(ValueError, match=r"train\.json: .*Invalid JSON"):
        list_generateu(tmp_path, batch="b", images="", annotations="train.json")
