"""YOLO's text files as they are written, and read again."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from opendet.exports.yolo import image_path, label_path, write_yolo
from opendet.record import Record
from opendet.sources.listing import Entry
from opendet.sources.yolo import list_yolo, read_class_names, read_yolo
from opendet.yaml_file import read_yaml
from tests.exports.export_world import (
    DOG,
    assert_boxes_agree,
    name_of,
    read_again,
    record,
    record_lists,
    written_regions,
)


@pytest.mark.parametrize(
    ("file", "image", "labels"),
    [
        ("a.jpg", "images/a.jpg", "labels/a.txt"),
        ("val/a.b.png", "images/val/a.b.png", "labels/val/a.b.txt"),
        ("images/val/a.jpg", "images/val/a.jpg", "labels/val/a.txt"),
        ("set/images/a.jpg", "set/images/a.jpg", "set/labels/a.txt"),
        ("images/images/a.jpg", "images/images/a.jpg", "images/labels/a.txt"),
        ("my images/images.jpg", "images/my images/images.jpg", "labels/my images/images.txt"),
    ],
)
def test_labels_lie_where_the_last_images_was(file: str, image: str, labels: str) -> None:
    assert (image_path(file), label_path(file)) == (image, labels)


def test_every_file_of_a_small_export(tmp_path: Path) -> None:
    ant = replace(DOG, label="ant", box_xyxy=(0, 0, 20, 10))
    records = [
        record("a.jpg", [DOG, ant]),
        record("x/b.jpg"),
        record("c.jpg", [replace(ant, crowd=True)], split="val"),
    ]
    assert write_yolo(records, tmp_path) == {"crowd": 1, "licence": 3}
    assert (tmp_path / "labels/a.txt").read_text() == (
        "1 0.318750000 0.500000000 0.487500000 0.600000000\n"
        "0 0.500000000 0.500000000 1.000000000 1.000000000\n"
    )
    assert (tmp_path / "labels/x/b.txt").read_text() == ""
    assert (tmp_path / "train.txt").read_text() == "./images/a.jpg\n./images/x/b.jpg\n"
    assert read_yaml(tmp_path / "data.yaml") == {
        "train": "train.txt",
        "val": "val.txt",
        "names": {0: "ant", 1: "dog"},
    }


def with_boxes(entry: Entry, root: Path, size: tuple[int, int]) -> Entry:
    """As the source stage reads it."""
    names = read_class_names(root / "data.yaml")
    return replace(entry, annotations=read_yolo(root / entry.annotation_file, size, names))


@settings(max_examples=60)
@given(record_lists())
def test_reading_gives_back_what_yolo_can_say(
    tmp_path_factory: pytest.TempPathFactory, records: list[Record]
) -> None:
    folder = tmp_path_factory.mktemp("yolo")
    write_yolo(records, folder)
    if not any(written_regions(one, crowds=False) for one in records):
        assert read_yaml(folder / "data.yaml")["names"] == {}
        return
    for one in records:
        (folder / one.file).parent.mkdir(parents=True, exist_ok=True)
        (folder / one.file).touch()
    sizes = {one.file: (one.width, one.height) for one in records}
    listed = list_yolo(folder, batch="b", images="images", annotations="data.yaml")
    entries = [with_boxes(entry, folder, sizes[entry.file]) for entry in listed]
    for one, again in read_again(entries, records):
        kept = written_regions(one, crowds=False)
        assert_boxes_agree(kept, again.regions)
        assert [region.label for region in again.regions] == [name_of(region) for region in kept]


def test_a_large_image_keeps_its_thousandths(tmp_path: Path) -> None:
    box_xyxy = (12_345.678, 0.001, 99_999.999, 77_777.777)
    one = record(regions=[replace(DOG, box_xyxy=box_xyxy)], width=100_000, height=80_000)
    write_yolo([one], tmp_path)
    (again,) = read_yolo(tmp_path / "labels/a.txt", (100_000, 80_000), {0: "dog"})
    assert again.box_xyxy == box_xyxy


def test_images_of_one_stem_would_share_a_file(tmp_path: Path) -> None:
    left_out = write_yolo([record("a.jpg"), record("images/a.png", [DOG])], tmp_path)
    assert left_out == {
        "image (same file as another)": 1,
        "box without image": 1,
        "licence": 1,
    }
    assert read_yaml(tmp_path / "data.yaml") == {"train": "train.txt", "names": {}}


def test_nothing_to_write(tmp_path: Path) -> None:
    assert write_yolo([], tmp_path) == Counter()
    assert read_yaml(tmp_path / "data.yaml") == {"names": {}}


def test_an_iterator_would_be_empty_in_the_second_round(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        write_yolo(iter([record()]), tmp_path)
