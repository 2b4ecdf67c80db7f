"""COCO's JSON and its kin's: what is read, and one line for each way to be broken."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opendet.masks import Rle, compressed
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


def listed(folder: Path, captions: str = "", *, masks: bool = False) -> Any:
    return list_coco(
        folder,
        batch="b",
        images="images",
        annotations="instances.json",
        captions=captions,
        masks=masks,
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
        (lambda d: d.update(categories=[]), r"annotations\.0\.category_id 5 is none"),
        (lambda d: d["images"][1].update(id=2), r"images\.1\.id 2 belongs to 'b\.jpg' already"),
        (
            lambda d: d["categories"].append({**d["categories"][0], "name": "unicorn"}),
            r"categories\.\d\.id \d belongs to '.*' already: give every category an id",
        ),
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


POLYGONS = [[0, 0, 4, 0, 4, 4], [5.5, 5, 9, 5, 9, 9]]


@pytest.mark.parametrize(
    ("segmentation", "mask"),
    [
        (POLYGONS, ((0, 0, 4, 0, 4, 4), (5.5, 5, 9, 5, 9, 9))),
        ({"size": [10, 20], "counts": [0, 200]}, Rle((10, 20), (0, 200))),
        ({"size": [10, 20], "counts": "0X6"}, Rle((10, 20), "0X6")),
        ([], None),
        (None, None),
    ],
)
def test_masks_are_read_where_they_are_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, segmentation: Any, mask: Any
) -> None:
    data = world()
    data["annotations"][0]["segmentation"] = segmentation
    write(tmp_path, data)
    assert listed(tmp_path, masks=True)[1].annotations[0].mask == mask
    assert listed(tmp_path)[1].annotations[0].mask is None
    assert not caplog.text


UNREADABLE = [
    [[0, 0, 4, 4]],  # a box
    [[0, 0, 4, 0, math.nan, 4]],
    [[0, 0, 4, 0, 1e9, 4]],
    [*POLYGONS, []],
    [1, 2, 3, 4, 5, 6],
    {"counts": [1, 2]},
    {"size": [10, 20], "counts": None},
    {},
    "masks/1.png",
    7,
    True,
]


def test_masks_of_another_form_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = world()
    (first,) = data["annotations"]
    data["annotations"] = [{**first, "segmentation": one} for one in [POLYGONS, *UNREADABLE]]
    write(tmp_path, data)
    good, *bad = listed(tmp_path, masks=True)[1].annotations
    assert good.mask
    assert len(bad) == len(UNREADABLE)
    assert {(box.box_xyxy, box.label, box.mask) for box in bad} == {(good.box_xyxy, "dog", None)}
    assert len(caplog.records) == 1
    assert f"left out {len(UNREADABLE)} masks" in caplog.text


def test_masks_do_not_mend_a_broken_annotation(tmp_path: Path) -> None:
    data = world()
    data["annotations"][0].update(segmentation=7, category_id=6)
    write(tmp_path, data)
    with pytest.raises(ValueError, match=r"annotations\.0\.category_id 6 is none"):
        listed(tmp_path, masks=True)


def test_every_mask_of_real_data_is_one_of_its_image(shared_data: Path) -> None:
    entries = list_coco(
        shared_data / "coco_tiny",
        batch="b",
        images="val2017",
        annotations="annotations/instances_val2017.json",
        masks=True,
    )
    boxes = [(entry.declared_size, box) for entry in entries for box in entry.annotations]
    assert len(boxes) == 382
    assert sum(isinstance(box.mask, Rle) for _, box in boxes) == sum(box.crowd for _, box in boxes)
    for (width, height), box in boxes:
        assert box.mask
        assert compressed(box.mask, (height, width), "mask")["counts"]


OBJECTS365 = {
    "images": [
        {
            "height": 512,
            "id": 420917,
            "license": 5,
            "width": 769,
            "file_name": "images/v1/patch8/objects365_v1_00420917.jpg",
            "url": "",
        },
        {"height": 512, "id": 900001, "width": 769, "file_name": "images/v2/patch16/b.jpg"},
    ],
    "annotations": [
        {
            "id": 25408012,
            "iscrowd": 1,
            "isfake": 0,
            "isreflected": 0,
            "bbox": [199.5, 50.25, 30.0, 20.0],
            "image_id": 420917,
            "category_id": 89,
            "area": 600.0,
        }
    ],
    "categories": [{"name": "Cabinet/shelf", "id": 89}],
    "licenses": [{"name": "CC BY", "url": "", "id": 5}],
}


@pytest.mark.parametrize(
    ("folder", "found"),
    [
        ("images/images/v1/patch8", "images/images/v1/patch8/objects365_v1_00420917.jpg"),
        ("images/patch8", "images/patch8/objects365_v1_00420917.jpg"),  # as it unpacks
        ("elsewhere", "images/images/v1/patch8/objects365_v1_00420917.jpg"),
    ],
)
def test_objects365_is_found_however_it_lies(tmp_path: Path, folder: str, found: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    write(tmp_path, OBJECTS365)
    first, second = listed(tmp_path)
    assert first.file == found
    assert first.key.startswith("b-images_v1_patch8_objects365_v1_00420917")
    assert second.file == "images/images/v2/patch16/b.jpg"
    assert first.annotations == (
        AnnotatedBox((199.5, 50.25, 229.5, 70.25), "Cabinet/shelf", crowd=True),
    )
    assert first.licence == "CC BY"


def test_a_path_that_the_disk_has_is_kept(tmp_path: Path) -> None:
    for folder in ("images/images/v1/patch8", "images/patch8"):
        (tmp_path / folder).mkdir(parents=True)
    write(tmp_path, OBJECTS365)
    assert listed(tmp_path)[0].file == "images/images/v1/patch8/objects365_v1_00420917.jpg"


def test_v3det_with_its_extra_fields_and_ids_of_letters(tmp_path: Path) -> None:
    (tmp_path / "images" / "a00000066").mkdir(parents=True)
    data = {
        "images": [
            {"id": "x1", "file_name": "images/a00000066/7_c.jpg", "width": 1024, "height": 683}
        ],
        "categories": [
            {
                "id": "n1",
                "name": "alpaca",
                "name_zh": "羊驼",
                "cat_info": "a camelid",
                "novel": False,
            }
        ],
        "annotations": [{"id": "q", "image_id": "x1", "category_id": "n1", "bbox": [0, 0, 9, 9]}],
    }
    write(tmp_path, data)
    (entry,) = listed(tmp_path)
    assert entry.file == "images/a00000066/7_c.jpg"
    assert entry.annotations == (AnnotatedBox((0, 0, 9, 9), "alpaca"),)


def test_a_name_that_leaves_the_root_stays_a_problem(tmp_path: Path) -> None:
    (tmp_path / "images" / "patch8").mkdir(parents=True)
    data = world()
    data["images"][0]["file_name"] = "../../patch8/../b.jpg"
    write(tmp_path, data)
    assert "file outside the root" in {entry.problem for entry in listed(tmp_path)}


def test_one_file_under_two_ids_is_taken_once(tmp_path: Path) -> None:
    data = world()
    data["images"].append({"id": 3, "file_name": "b.jpg"})
    write(tmp_path, data)
    assert [entry.problem for entry in listed(tmp_path)] == ["", "", "duplicate key"]


@pytest.fixture(scope="module")
def fuzz_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@settings(max_examples=150)
@given(st.integers(0, 400), st.binary(max_size=4), st.integers(0, 4))
def test_a_mutated_file_is_read_or_one_line(
    fuzz_folder: Path, place: int, new: bytes, cut: int
) -> None:
    data = world()
    data["annotations"][0]["segmentation"] = POLYGONS
    content = json.dumps(data).encode()
    (fuzz_folder / "instances.json").write_bytes(content[:place] + new + content[place + cut :])
    said = error_of(fuzz_folder)
    assert not said or said.startswith(str(fuzz_folder))
    assert "\n" not in said


def error_of(folder: Path) -> str:
    try:
        listed(folder, masks=True)
    except ValueError as error:
        return str(error)
    return ""
