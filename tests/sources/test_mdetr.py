"""MDETR's JSON: many entries of one file become one, and broken ones are one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from opendet.sources.listing import AnnotatedBox
from opendet.sources.mdetr import list_mdetr

FILE = "COCO_train2014_000000000005.jpg"


def image(number: int, caption: str, file: str = FILE) -> dict[str, Any]:
    """With all the fields of the real ones."""
    origin = {"original_id": 5, "dataset_name": "refcoco", "tokens_negative": [[0, 2]]}
    size = {"width": 60, "height": 40}
    return {"id": number, "file_name": file, "caption": caption, **size, **origin}


def annotation(number: int, image_id: int, bbox: list[float], spans: Any) -> dict[str, Any]:
    rest = {"area": 3.5, "iscrowd": 0, "original_id": 11, "category_id": 1}
    return {"id": number, "image_id": image_id, "bbox": bbox, "tokens_positive": spans, **rest}


def world() -> dict[str, Any]:
    return {
        "info": {},
        "licenses": [],
        "images": [
            image(0, "the lady in blue"),
            image(1, "a dog", "other.jpg"),
            image(2, "woman on left "),
            image(3, "man next to dog"),
        ],
        "annotations": [
            annotation(0, 0, [1, 2, 10, 20], [[0, 8]]),
            annotation(1, 1, [5, 5, 10, 10], [[0, 5]]),
            annotation(2, 2, [1, 2, 10, 20], []),
            annotation(3, 3, [30, 2, 10, 20], [[0, 3]]),
            annotation(4, 3, [30, 25, 10, 10], [[12, 15]]),
            annotation(5, 3, [45, 25, 10, 10], [[12, 15]]),
        ],
        "categories": [{"id": 1, "name": "person", "supercategory": "person"}],
    }


def listed(root: Path, data: Any) -> Any:
    (root / "finetune.json").write_text(json.dumps(data))
    return list_mdetr(root, batch="b", images="train2014", annotations="finetune.json")


def test_the_entries_of_a_file_become_one(tmp_path: Path) -> None:
    entry, other = listed(tmp_path, world())
    assert (entry.key, entry.file) == (f"b-{FILE[:-4]}", f"train2014/{FILE}")
    assert entry.declared_size == (60, 40)
    assert entry.annotations == (
        AnnotatedBox((1, 2, 11, 22), "person", description="the lady in blue"),
        AnnotatedBox((30, 2, 40, 22), "person", description="man"),
        AnnotatedBox((30, 25, 40, 35), "person", description="dog"),
        AnnotatedBox((45, 25, 55, 35), "person", description="dog"),
    )
    assert entry.caption == "the lady in blue. woman on left. man next to dog."
    assert [(entry.caption[p.start : p.end], p.boxes) for p in entry.phrases] == [
        ("the lady", (0,)),
        ("woman on left", (0,)),
        ("man", (1,)),
        ("dog", (2, 3)),
    ]
    assert (other.caption, other.annotations[0].description) == ("a dog.", "a dog")


def test_keys_are_unique_however_often_a_file_comes(tmp_path: Path) -> None:
    entries = listed(tmp_path, world())
    assert len({entry.key for entry in entries}) == len(entries) == 2
    assert not any(entry.problem for entry in entries)


@pytest.mark.parametrize("span", [[0, 99], [-1, 3], [5, 5], [8, 3]])
def test_a_span_outside_is_spoken_of_and_the_expression_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, span: list[int]
) -> None:
    data = world()
    data["annotations"][0]["tokens_positive"] = [span]
    entry = listed(tmp_path, data)[0]
    first = entry.phrases[0]
    assert entry.caption[first.start : first.end] == "the lady in blue"
    assert "has 1 spans outside their captions" in caplog.text


def test_an_unreadable_expression_is_cleaned_and_one_phrase(tmp_path: Path) -> None:
    data = world()
    data["images"][0]["caption"] = "the\x00lady in blue"
    entry = listed(tmp_path, data)[0]
    assert entry.caption.startswith("the lady in blue. woman")
    assert entry.phrases[0].end == len("the lady in blue")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.pop("annotations"), "annotations: Field required"),
        (lambda d: d["images"][0].pop("caption"), r"images\.0\.caption: Field required"),
        (lambda d: d["images"][1].update(id=0), r"images\.1\.id 0 comes twice"),
        (lambda d: d["annotations"][0].update(bbox=[1]), r"annotations\.0\.bbox"),
        (lambda d: d["annotations"][0].update(category_id=9), r"annotations\.0\.category_id 9 is"),
        (lambda d: d["annotations"][0].update(image_id=9), r"annotations\.0\.image_id 9 is none"),
        (lambda d: d["annotations"][0].update(tokens_positive=[[1]]), r"annotations\.0\.tokens"),
    ],
)
def test_a_wrong_structure_names_file_and_place(tmp_path: Path, change: Any, says: str) -> None:
    data = world()
    change(data)
    with pytest.raises(ValueError, match=rf"finetune\.json: {says}") as caught:
        listed(tmp_path, data)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is missing: mend the batch"):
        list_mdetr(tmp_path, batch="b", images="i", annotations="finetune.json")


def test_entries_of_one_file_with_different_sizes_are_no_image(tmp_path: Path) -> None:
    data = world()
    data["images"][2]["width"] = 70
    entry, other = listed(tmp_path, data)
    assert (entry.problem, other.problem) == ("lines of different sizes", "")
    assert entry.problem_detail == f"train2014/{FILE} has lines of 60x40 and 70x40"


def test_line_ends_do_not_cost_the_spans(tmp_path: Path) -> None:
    data = world()
    data["images"][0]["caption"] = "the lady\r\nin blue"
    entry = listed(tmp_path, data)[0]
    first = entry.phrases[0]
    assert entry.caption[first.start : first.end] == "the lady"


def test_two_categories_of_one_id(tmp_path: Path) -> None:
    data = world()
    data["categories"].append({"id": 1, "name": "dog"})
    with pytest.raises(ValueError, match=r"categories\.1\.id 1 belongs to 'person' already"):
        listed(tmp_path, data)
