"""Pascal VOC's XML files as they are written, and read again."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings

from opendet.exports.voc import write_voc
from opendet.record import Record
from opendet.sources.listing import AnnotatedBox, Entry
from opendet.sources.voc import list_voc, read_voc
from tests.exports.export_world import (
    DOG,
    NAMES,
    assert_boxes_agree,
    name_of,
    read_again,
    record,
    record_lists,
    written_regions,
)


def test_pixels_count_from_one_and_the_last_one_is_inside(tmp_path: Path) -> None:
    whole = replace(DOG, box_xyxy=(0, 0, 20, 10), label='a <b> & "c"')
    records = [
        record("x/a.jpg", [whole, DOG]),
        record("b.png", split="val"),
        record("c.jpg", [replace(DOG, crowd=True)]),
    ]
    assert write_voc(records, tmp_path) == {"crowd": 1, "licence": 3}
    root = ElementTree.parse(tmp_path / "Annotations/x/a.xml").getroot()
    sides = [[side.text for side in box] for box in root.iterfind("object/bndbox")]
    assert sides == [["1", "1", "20", "10"], ["2.5", "3", "11.25", "8"]]
    assert [one.tag for one in root.find("object/bndbox")] == ["xmin", "ymin", "xmax", "ymax"]
    assert root.findtext("object/name") == 'a <b> & "c"'
    assert (root.findtext("folder"), root.findtext("filename")) == ("x", "a.jpg")
    assert [one.text for one in root.find("size")] == ["20", "10", "3"]
    assert read_voc(tmp_path / "Annotations/c.xml").boxes == ()
    sets = tmp_path / "ImageSets/Main"
    assert (sets / "train.txt").read_text() == "x/a\nc\n"
    assert (sets / "val.txt").read_text() == "b\n"


def with_boxes(entry: Entry, root: Path) -> Entry:
    """As the source stage reads it."""
    read = read_voc(root / entry.annotation_file)
    return replace(entry, annotations=read.boxes, declared_size=read.declared_size)


@settings(max_examples=60)
@given(record_lists())
def test_reading_gives_back_what_voc_can_say(
    tmp_path_factory: pytest.TempPathFactory, records: list[Record]
) -> None:
    folder = tmp_path_factory.mktemp("voc")
    write_voc(records, folder)
    if not records:
        return
    listed = list_voc(
        folder,
        batch="b",
        images="",
        annotations="Annotations",
        names="ImageSets/Main/train.txt",
    )
    for one, again in read_again([with_boxes(entry, folder) for entry in listed], records):
        kept = written_regions(one, crowds=False)
        assert_boxes_agree(kept, again.regions)
        names = [name_of(region) for region in kept]
        assert [region.label for region in again.regions] == [readable(name) for name in names]


def readable(name: str) -> str:
    return name.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")


@given(NAMES, NAMES)
def test_any_name_can_be_read(tmp_path_factory: pytest.TempPathFactory, name: str, it: str) -> None:
    folder = tmp_path_factory.mktemp("voc")
    write_voc([record("a.jpg", [replace(DOG, label=name)], source=it)], folder)
    (box,) = read_voc(folder / "Annotations/a.xml").boxes
    assert box == AnnotatedBox(DOG.box_xyxy, readable(name))


def test_characters_that_xml_cannot_hold_are_counted(tmp_path: Path) -> None:
    left_out = write_voc([record(regions=[replace(DOG, label="a\ufffeb\uffff")])], tmp_path)
    assert left_out == {"character in a name": 2, "licence": 1}
    assert read_voc(tmp_path / "Annotations/a.xml").boxes[0].label == "a\ufffdb\ufffd"


def test_images_of_one_stem_would_share_a_file(tmp_path: Path) -> None:
    left_out = write_voc([record("a.jpg", [DOG]), record("a.png", [DOG, DOG])], tmp_path)
    assert left_out["image (same file as another)"] == 1
    assert left_out["box without image"] == 2
    assert len(read_voc(tmp_path / "Annotations/a.xml").boxes) == 1


def test_real_annotations_come_back(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "bccd"
    paths = sorted(root.rglob("*.xml"))[:50]
    before = [read_voc(path) for path in paths]
    records = []
    for number, annotation in enumerate(before):
        boxes = [box for box in annotation.boxes if box.box_xyxy[2] > box.box_xyxy[0]]
        regions = [replace(DOG, box_xyxy=box.box_xyxy, label=box.label) for box in boxes]
        width, height = annotation.declared_size or (0, 0)
        records.append(record(f"{number}.jpg", regions, width=width, height=height, licence=""))
    assert sum(len(one.regions) for one in records) > 300
    assert write_voc(records, tmp_path) == Counter()
    for number, annotation in enumerate(before):
        assert read_voc(tmp_path / f"Annotations/{number}.xml") == annotation
