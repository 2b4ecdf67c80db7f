"""Visual Genome: objects and regions of a small world, and one line for each way to be broken."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opendet.curate.source_record import record_of
from opendet.sources.card import Batch
from opendet.sources.images import ImageFacts
from opendet.sources.listing import AnnotatedBox
from opendet.sources.visual_genome import list_visual_genome

URL = "https://cs.stanford.edu/people/rak248"


def world() -> dict[str, Any]:
    """As the files of version 1.4 have it, unused fields included."""
    image = {"width": 800, "height": 600, "coco_id": None, "flickr_id": 3}
    clock = {
        "synsets": ["clock.n.01"],
        "object_id": 1058498,
        "merged_object_ids": [],
        "names": ["clock", "town clock"],
        "x": 421,
        "y": 91,
        "w": 79,
        "h": 339,
    }
    region = {
        "region_id": 1382,
        "image_id": 1,
        "phrase": "the clock is green in colour",
        "x": 421,
        "y": 57,
        "width": 82,
        "height": 139,
    }
    return {
        "image_data.json": [
            {**image, "image_id": 2, "url": f"{URL}/VG_100K/2.jpg"},
            {**image, "image_id": 1, "url": f"{URL}/VG_100K_2/1.jpg"},
        ],
        "objects.json": [
            {"image_id": 1, "objects": [clock], "image_url": f"{URL}/VG_100K_2/1.jpg"},
            {"image_id": 2, "objects": []},
        ],
        "region_descriptions.json": [{"id": 1, "regions": [region]}],
    }


def write(root: Path, data: dict[str, Any]) -> None:
    (root / "vg").mkdir(exist_ok=True)
    for name, content in data.items():
        (root / "vg" / name).write_text(json.dumps(content), "utf-8")


def listed(root: Path, images: str = "images") -> Any:
    return list_visual_genome(root, batch="b", images=images, annotations="vg")


OBJECT = AnnotatedBox((421, 91, 500, 430), "clock", other_labels=("town clock",))
REGION = AnnotatedBox((421, 57, 503, 196), "", description="the clock is green in colour")


def test_objects_and_regions_become_boxes(tmp_path: Path) -> None:
    write(tmp_path, world())
    first, second = listed(tmp_path)
    assert (first.key, first.file) == ("b-1", "images/VG_100K_2/1.jpg")
    assert (second.key, second.file) == ("b-2", "images/VG_100K/2.jpg")
    assert first.annotations == (OBJECT, REGION)
    assert second.annotations == ()
    assert first.declared_size == (800, 600)


def test_the_images_may_lie_in_the_root(tmp_path: Path) -> None:
    write(tmp_path, world())
    assert listed(tmp_path, images="")[0].file == "VG_100K_2/1.jpg"


def test_a_record_keeps_names_and_descriptions(tmp_path: Path) -> None:
    write(tmp_path, world())
    entry = listed(tmp_path)[0]
    facts = ImageFacts("jpg", 800, 600, 1, "0" * 64, 1, "0" * 16)
    batch = Batch(name="b", split="train", format="folder", root="r", licence="x")
    problems: Counter[str] = Counter()
    record = record_of(entry, facts, problems, source="vg", batch=batch)
    named, described = record.regions
    assert (named.label, named.other_labels) == ("clock", ("town clock",))
    assert (described.label, described.description) == (None, "the clock is green in colour")
    assert not problems


@pytest.mark.parametrize(
    ("absent", "left"),
    [("objects.json", (REGION,)), ("region_descriptions.json", (OBJECT,))],
)
def test_either_file_may_be_absent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, absent: str, left: Any
) -> None:
    data = world()
    del data[absent]
    write(tmp_path, data)
    assert listed(tmp_path)[0].annotations == left
    assert f"{absent} is not there" in caplog.text


def test_one_of_them_must_be_there(tmp_path: Path) -> None:
    write(tmp_path, {"image_data.json": []})
    with pytest.raises(ValueError, match=r"neither objects\.json nor region_descriptions\.json"):
        listed(tmp_path)


def test_an_object_without_a_name_has_an_empty_label(tmp_path: Path) -> None:
    data = world()
    data["objects.json"][0]["objects"][0]["names"] = []
    write(tmp_path, data)
    assert listed(tmp_path)[0].annotations[0] == AnnotatedBox((421, 91, 500, 430), "")


def test_older_files_call_the_image_id(tmp_path: Path) -> None:
    data = world()
    for name in ("image_data.json", "objects.json"):
        for image in data[name]:
            image["id"] = image.pop("image_id")
    write(tmp_path, data)
    assert listed(tmp_path)[0].annotations == (OBJECT, REGION)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "no file name"),
        ("http://[odd/../1.jpg", "file outside the root"),
        (f"{URL}/../1.jpg", "file outside the root"),
        (f"{URL}/VG_100K/2.jpg", "duplicate key"),
        (f"{URL}/VG_100K/{'1' * 300}.jpg", "unusable file name"),
    ],
)
def test_a_url_that_names_no_file_is_a_problem_of_its_image(
    tmp_path: Path, url: str, problem: str
) -> None:
    data = world()
    data["image_data.json"][1]["url"] = url
    write(tmp_path, data)
    assert sorted(entry.problem for entry in listed(tmp_path)) == ["", problem]


def test_images_that_are_not_listed_are_spoken_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = world()
    del data["image_data.json"][1]
    write(tmp_path, data)
    assert not listed(tmp_path)[0].annotations
    assert "1 images that image_data.json does not list" in caplog.text


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("image_data.json", lambda d: d[0].pop("url"), r"0\.url: Field required"),
        ("image_data.json", lambda d: d[0].update(image_id="x"), r"0\.image_id: Input should"),
        ("objects.json", lambda d: d[0].pop("objects"), r"0\.objects: Field required"),
        ("objects.json", lambda d: d[0]["objects"][0].pop("w"), r"0\.objects\.0\.w: Field"),
        ("objects.json", lambda d: d[0]["objects"][0].update(names=3), r"0\.objects\.0\.names"),
        (
            "region_descriptions.json",
            lambda d: d[0]["regions"][0].update(phrase=None),
            r"0\.regions\.0\.phrase",
        ),
    ],
)
def test_a_wrong_structure_names_file_and_place(
    tmp_path: Path, name: str, change: Any, says: str
) -> None:
    data = world()
    change(data[name])
    write(tmp_path, data)
    with pytest.raises(ValueError, match=rf"{name}: {says}") as caught:
        listed(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{}", '[{"id": 1', "[3]"])
@pytest.mark.parametrize("name", sorted(world()))
def test_a_broken_file_is_one_line(tmp_path: Path, name: str, content: str) -> None:
    write(tmp_path, world())
    (tmp_path / "vg" / name).write_text(content)
    with pytest.raises(ValueError, match=rf"{name}: ") as caught:
        listed(tmp_path)
    assert "\n" not in str(caught.value)


def test_without_image_data_it_says_so(tmp_path: Path) -> None:
    data = world()
    del data["image_data.json"]
    write(tmp_path, data)
    with pytest.raises(ValueError, match=r"image_data\.json is missing: mend the batch"):
        listed(tmp_path)


@settings(max_examples=50)
@given(
    boxes=st.lists(
        st.tuples(*[st.integers(0, 500)] * 2, *[st.integers(1, 500)] * 2), min_size=1, max_size=5
    )
)
def test_corner_and_size_come_back(
    tmp_path_factory: pytest.TempPathFactory, boxes: list[tuple[int, int, int, int]]
) -> None:
    data = world()
    data["objects.json"][0]["objects"] = [
        {"names": ["a"], "x": x, "y": y, "w": w, "h": h} for x, y, w, h in boxes
    ]
    del data["region_descriptions.json"]
    root = tmp_path_factory.mktemp("vg")
    write(root, data)
    found = [box.box_xyxy for box in listed(root)[0].annotations]
    assert [(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in found] == boxes
