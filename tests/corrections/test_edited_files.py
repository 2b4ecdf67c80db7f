"""Edited files as they come, broken ones too: one line, or a reason that is counted."""

import json
from pathlib import Path
from typing import Any

import pytest

from opendet.corrections.batches import add_batch, batches_in
from opendet.corrections.edited_file import checked_objects, read_edited
from opendet.corrections.edits import Seen
from opendet.corrections.giving import give_corrections
from opendet.exports.csv_file import from_cell, to_cell, write_csv
from opendet.record import Record
from tests.exports.export_world import DOG, record

IMAGE = {"id": 1, "file_name": "a.jpg", "width": 20, "height": 10}
BOX = {"image_id": 1, "category_id": 1, "bbox": [1.5, 2, 9.75, 6]}
CATEGORY = {"id": 1, "name": "dog"}
HEAD = "key,x0,y0,x1,y1,name\n"


def written(folder: Path, images: Any, annotations: Any, categories: Any = (CATEGORY,)) -> Path:
    path = folder / "edited.json"
    world = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(world))
    return path


def line_of(path: Path, *records: Record) -> str:
    """What giving it says, where it corrects nothing or is broken."""
    with pytest.raises(ValueError, match=r".") as raised:
        give_corrections(path, records, path.parent / "batches", by="")
    assert "\n" not in str(raised.value)
    assert not (path.parent / "batches").exists()
    return str(raised.value)


@pytest.mark.parametrize(
    ("bbox", "reason"),
    [
        ([float("nan"), 2, 3, 3], "box of no number"),
        ([1, 2, float("inf"), 3], "box of no number"),
        ([5, 2, -3, 3], "box turned over"),
        ([5, 2, 0, 3], "box turned over"),
        ([5, 2, 30, 3], "box outside the image"),
        ([-5, 2, 10, 3], "box outside the image"),
        ([50, 2, 10, 3], "box outside the image"),
    ],
)
def test_a_wrong_box_leaves_its_image_as_it_was(
    tmp_path: Path, bbox: list[float], reason: str
) -> None:
    """Else the box that it was would be taken for deleted."""
    path = written(tmp_path, [IMAGE], [{**BOX, "bbox": bbox}])
    said = line_of(path, record("a.jpg", [DOG]))
    assert said.endswith(f"0 unchanged; 0 unknown images; left as it was: 1 image ({reason})")


def test_a_box_that_sticks_out_by_rounding_is_cut(tmp_path: Path) -> None:
    path = written(tmp_path, [IMAGE], [{**BOX, "bbox": [-0.4, 2, 21, 8.6]}])
    objects, problem = checked_objects(read_edited(path)[0], record("a.jpg"))
    assert (objects, problem) == ([Seen((0, 2, 20, 10), "dog")], "")


def test_images_are_known_by_key_by_file_and_by_a_file_called_like_the_key(tmp_path: Path) -> None:
    one = record("x/a.jpg", [DOG])
    for image in (
        {**IMAGE, "file_name": "?", "opendet_key": one.key},
        {**IMAGE, "file_name": "x/a.jpg"},
        {**IMAGE, "file_name": f"deep/{one.key}.png"},
        {**IMAGE, "file_name": f"images/0123abcd-{one.key}.png"},  # as Label Studio calls it
    ):
        assert "0 unknown" in line_of(written(tmp_path, [image], [BOX]), one)
    assert "1 unknown image" in line_of(written(tmp_path, [IMAGE], [BOX]), one)


@pytest.mark.parametrize("called", [{"file_name": "a.jpg"}, {"opendet_key": "b-a"}])
def test_an_image_that_is_listed_twice_is_none(tmp_path: Path, called: dict[str, str]) -> None:
    """One of the two would show none of the other's objects, and they would be deleted."""
    images = [{"id": 1, "file_name": "", **called}, {"id": 2, "file_name": "", **called}]
    said = line_of(written(tmp_path, images, [BOX]), record("a.jpg", [DOG]))
    assert said == (
        f"{next(iter(called.values()))} is listed twice: an image is listed once, with all of its "
        "objects"
    )


def test_a_file_of_many_images_tells_none_of_them(tmp_path: Path) -> None:
    drawn = [record("a.parquet", [DOG], key=key) for key in ("b-1", "b-2")]
    said = line_of(written(tmp_path, [{**IMAGE, "file_name": "a.parquet"}], []), *drawn)
    assert said.startswith("several images of the build lie in a.parquet: say by its key")
    image = {**IMAGE, "file_name": "a.parquet", "opendet_key": "b-2"}
    assert "1 unchanged" in line_of(written(tmp_path, [image], [BOX]), *drawn)


def test_an_image_of_another_size_is_left_as_it_was(tmp_path: Path) -> None:
    path = written(tmp_path, [{**IMAGE, "width": 40}], [])
    assert "1 image (another size)" in line_of(path, record("a.jpg", [DOG]))


def test_an_older_state_is_left_as_it_was(tmp_path: Path) -> None:
    path = written(tmp_path, [{**IMAGE, "opendet_state": "0" * 12}], [])
    assert "1 image (changed since the export)" in line_of(path, record("a.jpg", [DOG]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "edited.json: its root: Invalid JSON"),
        ("[]", "edited.json: its root"),
        ('{"images": []}', "edited.json: annotations: Field required"),
        (json.dumps({"images": [IMAGE, IMAGE], "annotations": [], "categories": []}), "one id"),
        (
            json.dumps({"images": [], "annotations": [BOX], "categories": [CATEGORY]}),
            "a box is of image 1, which the file does not list",
        ),
        (
            json.dumps({"images": [IMAGE], "annotations": [BOX], "categories": []}),
            "annotations.0.category_id 1 is none of its categories",
        ),
        (
            json.dumps({"images": [IMAGE], "annotations": [BOX], "categories": [CATEGORY]}),
            "edited.json corrects nothing: 0 images corrected: 0 moved, 0 renamed, 0 added, "
            "0 deleted; 1 unchanged; 0 unknown images",
        ),
    ],
)
def test_broken_json_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "edited.json"
    path.write_text(text)
    assert said in line_of(path, record("a.jpg", [DOG]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its first line must name key (or file), x0, y0, x1, y1 and name"),
        ("key,x0,y0,x1\n", "its first line must name"),
        (HEAD + "b-a,1,2,three,4,dog\n", "line 2: 'three' is no number of pixels"),
        (HEAD + "b-a,1,2,,4,dog\n", "line 2: '' is no number of pixels"),
        (HEAD + ",1,2,3,4,dog\n", "line 2 has neither a key nor a file"),
        (HEAD + "b-a,,,,,dog\n", "line 2 has a name and no box: give both or none"),
        (HEAD + 'b-a,1,2,3,4,"dog\n', "no CSV in UTF-8"),
        (HEAD + "b-a,1,2,3,4,\n", "1 image (box without name)"),
        (HEAD + "b-a,nan,2,3,4,dog\n", "1 image (box of no number)"),
        (HEAD + "b-a\n", "line 2 has fewer cells than the first line: export it again"),
        (
            HEAD + "b-a,1,2,3,4,dog, brown\n",
            "line 2 has more cells than the first line: put a name",
        ),
        (HEAD + "b-z,1,2,3,4,dog\n", "1 unknown image"),
        (HEAD + "b-z,1,2,3,4,dog,,\n", "1 unknown image"),
        (HEAD + "b-a,1.5,2,11.25,8,dog\n", "1 unchanged"),
    ],
)
def test_broken_csv_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "edited.csv"
    path.write_text(text)
    assert said in line_of(path, record("a.jpg", [DOG]))


@pytest.mark.parametrize("name", ["edited.xml", "edited.json", "edited.csv", "folder.csv"])
def test_what_is_no_such_file_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    assert "name the edited COCO JSON or CSV" in line_of(tmp_path / name)


@pytest.mark.parametrize("tolerance", [float("nan"), float("inf"), -1.0])
def test_a_tolerance_is_a_number_of_pixels(tmp_path: Path, tolerance: float) -> None:
    path = written(tmp_path, [IMAGE], [])
    with pytest.raises(ValueError, match="a tolerance is a number of pixels"):
        give_corrections(path, (), tmp_path, by="", tolerance=tolerance)


def test_latin_letters_are_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "edited.csv"
    path.write_bytes(HEAD.encode() + "b-a,1,2,3,4,Hündin\n".encode("latin-1"))
    assert "no CSV in UTF-8" in line_of(path)


def test_decimal_commas_and_tabs_are_read(tmp_path: Path) -> None:
    path = tmp_path / "edited.csv"
    row = ["b-a", "1,5", "2,0", "11,25", "8", "dog"]
    path.write_text("\ufeff" + HEAD.replace(",", "\t") + "\t".join(row) + "\n", "utf-8")
    [image] = read_edited(path)
    assert image.objects == [Seen((1.5, 2, 11.25, 8), "dog")]


@pytest.mark.parametrize("name", ["=1+1", "+dog", "-dog", "@dog", "'=dog", "'dog", "dog", "d'og"])
def test_no_cell_is_a_formula(name: str) -> None:
    cell = to_cell(name)
    assert not cell.startswith(("=", "+", "-", "@"))
    assert from_cell(cell) == name


def test_a_csv_says_that_an_image_has_no_box(tmp_path: Path) -> None:
    write_csv([record("a.jpg", [DOG]), record("b.jpg")], tmp_path)
    images = read_edited(tmp_path / "objects.csv")
    assert [(one.key, len(one.objects)) for one in images] == [("b-a", 1), ("b-b", 0)]


def test_batches_that_are_damaged_or_missing_are_one_line(tmp_path: Path) -> None:
    for _ in range(2):
        add_batch(tmp_path, (), {"by": "Ada"})
    assert [one.name for one in batches_in(tmp_path)] == ["batch-1", "batch-2"]
    lines, commit = tmp_path / "batch-1.jsonl", tmp_path / "batch-1.json"
    text = commit.read_text()
    lines.write_text("x")
    with pytest.raises(ValueError, match=r"batch-1.jsonl is missing or not what batch-1.json says"):
        batches_in(tmp_path)
    commit.write_text("{}")
    with pytest.raises(ValueError, match=r"batch-1.json is damaged"):
        batches_in(tmp_path)
    commit.unlink()
    with pytest.raises(ValueError, match="has no batch 1, yet one after it"):
        batches_in(tmp_path)
    commit.write_text(text)
    (tmp_path / "batch-x.json").write_text("{}")
    with pytest.raises(ValueError, match=r"batch-x.json is no batch"):
        batches_in(tmp_path)
