"""COCO's JSON: what is read, and one line for each way to be broken."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opendet.sources.coco import list_coco
from opendet.sources.listing import AnnotatedBox


def world() -> dict[str, Any]:
    return {
        "images": [
            {"id": 2, "file_name": "b.jpg", "width": 20, "height": 10, "license": 7},
            {"id": 1, "file_name": "a.jpg", "width": 20, "height": 10},
        ],
        "categories": [{"id": 5, "name": "dog"}],
        "annotations": [
            {"id": 9, "image_id": 2, "category_id": 5, "bbox": [1.1, 2, 3.1, 4], "iscrowd": 1}
        ],
        "licenses": [{"id": 7, "name": "No Restrictions"}],
    }


def write(folder: Path, data: Any, name: str = "instances.json") -> None:
    (folder / name).write_text(json.dumps(data), "utf-8")


def listed(folder: Path, captions: str = "") -> Any:
    return list_coco(
        folder, batch="b", images="images", annotations="instances.json", captions=captions
    )


def test_boxes_labels_crowds_captions_and_licences(tmp_path: Path) -> None:
    write(tmp_path, world())
    texts = {"annotations": [{"image_id": 1, "caption": "A."}, {"image_id": 1, "caption": "B."}]}
    write(tmp_path, texts, "captions.json")
    first, second = listed(tmp_path, "captions.json")
    assert (first.key, first.file, first.annotations) == ("b-a", "images/a.jpg", ())
    assert first.captions == ("A.", "B.")
    assert second.annotations == (AnnotatedBox((1.1, 2.0, 4.2, 6.0), "dog", crowd=True),)
    assert (second.declared_size, second.licence) == ((20, 10), "No Restrictions")


def test_nan_is_read_and_judged_later(tmp_path: Path) -> None:
    data = world()
    data["annotations"][0]["bbox"] = [math.nan, 0, 1e999, 2]
    write(tmp_path, data)
    assert math.isnan(listed(tmp_path)[1].annotations[0].box_xyxy[0])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.pop("images"), "images: Field required"),
        (lambda d: d.update(images=3), "images: Input should be a valid"),
        (lambda d: d["images"][1].pop("file_name"), r"images\.1\.file_name"),
        (lambda d: d["annotations"][0].pop("bbox"), r"annotations\.0\.bbox"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2, 3]), r"annotations\.0\.bbox"),
        (lambda d: d["annotations"][0].update(bbox=None), r"annotations\.0\.bbox"),
        (lambda d: d["annotations"][0].update(category_id=6), r"annotations\.0\.category_id 6"),
        (lambda d: d["images"][1].update(id=2), r"images\.1\.id 2 belongs to 'b\.jpg' already"),
    ],
)
def test_a_wrong_structure_names_file_and_place(tmp_path: Path, change: Any, says: str) -> None:
    data = world()
    change(data)
    write(tmp_path, data)
    with pytest.raises(ValueError, match=rf"instances\.json: {says}") as caught:
        listed(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"images": [,]}', "line 1 column 13"),
        (b'{"images": [\n{"id": 1', "line 2"),
        (b'{"images": [{"id": 1, "file_name": "\xff"}]}', "unicode"),
        (b'{"images": [{"id": 1, "file_name": "\\ud800"}]}', "hex escape"),
        (b"[" * 100_000, "recursion"),
        (b"", "EOF"),
    ],
)
def test_broken_json_names_file_and_place(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "instances.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"instances\.json: .*{says}") as caught:
        listed(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is missing: mend the batch"):
        listed(tmp_path)


def test_annotations_of_other_images_are_spoken_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = world()
    data["annotations"][0]["image_id"] = 77
    write(tmp_path, data)
    assert not any(entry.annotations for entry in listed(tmp_path))
    assert "1 images that the batch does not list" in caplog.text


@pytest.fixture(scope="module")
def fuzz_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@settings(max_examples=150)
@given(st.integers(0, 300), st.binary(max_size=4), st.integers(0, 4))
def test_a_mutated_file_is_read_or_one_line(
    fuzz_folder: Path, place: int, new: bytes, cut: int
) -> None:
    content = json.dumps(world()).encode()
    (fuzz_folder / "instances.json").write_bytes(content[:place] + new + content[place + cut :])
    said = error_of(fuzz_folder)
    assert not said or said.startswith(str(fuzz_folder))
    assert "\n" not in said


def error_of(folder: Path) -> str:
    try:
        listed(folder)
    except ValueError as error:
        return str(error)
    return ""
