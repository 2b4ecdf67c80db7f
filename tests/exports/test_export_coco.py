"""COCO's files as they are written, and read again."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from pycocotools.coco import COCO

from opendet.corrections.comparing import state_of
from opendet.exports.coco import write_coco
from opendet.record import Mask, Phrase, Provenance, Record, Region, Turn
from opendet.sources.coco import list_coco
from tests.exports.export_world import (
    DOG,
    SOURCE,
    as_records,
    assert_boxes_agree,
    judged,
    mask_of,
    name_of,
    read_again,
    record,
    record_lists,
    written_regions,
)


def test_every_field_of_a_small_export(tmp_path: Path) -> None:
    inside = np.zeros((10, 20), bool)
    inside[2:8, 2:11] = True
    one = replace(DOG, names=("hound",), mask=mask_of(inside))
    crowd = Region((0, 0, 20, 10), SOURCE, label="ant", crowd=True)
    records = [
        record("x/a.jpg", [one, crowd], source_captions=("A dog.",), caption="An ant."),
        record("b.jpg", [DOG], split="val", licence=""),
    ]
    assert write_coco(records, tmp_path) == {"other label": 1}, "what the source calls the hound"
    train = json.loads((tmp_path / "instances_train.json").read_text("utf-8"))
    states = {"opendet_key": records[0].key, "opendet_state": state_of(records[0])}
    assert train["images"] == [
        {"id": 1, "file_name": "x/a.jpg", "width": 20, "height": 10, "license": 1, **states}
    ]
    assert train["licenses"] == [{"id": 1, "name": "MIT"}]
    categories = [{"id": i, "name": name} for i, name in enumerate(("ant", "dog", "hound"), 1)]
    assert train["categories"] == categories
    common = {"image_id": 1, "bbox": [1.5, 2.0, 9.75, 6.0], "area": 54.0}
    code = {"size": [10, 20], "counts": one.mask.counts}
    hound = {**common, "id": 1, "category_id": 3, "iscrowd": 0, "segmentation": code}
    assert train["annotations"][0] == hound
    assert train["annotations"][1] == {
        "id": 2, "image_id": 1, "category_id": 1, "bbox": [0, 0, 20, 10], "area": 200, "iscrowd": 1
    }  # fmt: skip
    val = json.loads((tmp_path / "instances_val.json").read_text("utf-8"))
    assert val["categories"] == categories
    states = {"opendet_key": records[1].key, "opendet_state": state_of(records[1])}
    assert val["images"] == [{"id": 2, "file_name": "b.jpg", "width": 20, "height": 10, **states}]
    assert [(one["id"], one["image_id"], one["area"]) for one in val["annotations"]] == [
        (3, 2, 58.5)
    ]
    captions = json.loads((tmp_path / "captions_train.json").read_text("utf-8"))["annotations"]
    assert captions == [
        {"id": 1, "image_id": 1, "caption": "A dog."},
        {"id": 2, "image_id": 1, "caption": "An ant."},
    ]
    names = {"instances_train.json", "instances_val.json", "captions_train.json"}
    assert {path.name for path in tmp_path.iterdir()} == names


@settings(max_examples=60)
@given(record_lists())
def test_reading_gives_back_what_coco_can_say(
    tmp_path_factory: pytest.TempPathFactory, records: list[Record]
) -> None:
    folder = tmp_path_factory.mktemp("coco")
    write_coco(records, folder)
    if not records:
        assert not list(folder.iterdir())
        return
    texts = "captions_train.json" if any(one.source_captions for one in records) else ""
    entries = list_coco(
        folder,
        batch="b",
        images="",
        annotations="instances_train.json",
        captions=texts,
        masks=True,
    )
    for one, again in read_again(entries, records):
        kept = written_regions(one)
        assert_boxes_agree(kept, again.regions)
        assert [region.label for region in again.regions] == [name_of(region) for region in kept]
        assert [region.crowd for region in again.regions] == [region.crowd for region in kept]
        assert [region.mask for region in again.regions] == [region.mask for region in kept]
        assert (again.source_captions, again.licence) == (one.source_captions, one.licence)


@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_real_annotations_come_back_and_pycocotools_reads_them(
    shared_data: Path, tmp_path: Path
) -> None:
    files = {"annotations": "instances_val2017.json", "captions": "captions_val2017.json"}
    root = shared_data / "coco_tiny" / "annotations"
    entries = list_coco(root, batch="b", images="", masks=True, **files)
    records = as_records(entries)
    assert sum(len(one.regions) for one in records) > 300
    assert write_coco(records, tmp_path) == Counter()
    files = {"annotations": "instances_train.json", "captions": "captions_train.json"}
    again = list_coco(tmp_path, batch="b", images="", masks=True, **files)
    for one, two in read_again(again, records):
        assert one == replace(two, split=one.split)
    theirs = COCO(str(tmp_path / "instances_train.json"))
    for annotation in theirs.loadAnns(theirs.getAnnIds()):
        assert theirs.annToMask(annotation).sum() == annotation["area"]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    told = replace(DOG, description="A dog.", box_from=Provenance("detector", score=0.5))
    regions = [
        replace(told, other_labels=("hound", "cur")),
        replace(DOG, label=None),
        replace(DOG, refusal="border"),
        replace(DOG, names=("",)),
        replace(DOG, mask=Mask("!!!", SOURCE)),
    ]
    rich = record(
        regions=regions,
        caption="A dog runs.",
        phrases=(Phrase(2, 5, (0,), SOURCE),),
        tags=("dog", "run"),
        conversation=(Turn("human", "What?"), Turn("gpt", "A dog.")),
        absent=judged("cat"),
        partial=judged("ant", "bee"),
    )
    assert write_coco([rich], tmp_path) == {
        "box without name": 2,
        "refused box": 1,
        "broken mask": 1,
        "other label": 2,
        "description": 1,
        "phrase": 1,
        "tag": 2,
        "conversation": 1,
        "absent": 1,
        "partial": 2,
    }
    written = json.loads((tmp_path / "instances_train.json").read_text("utf-8"))
    assert [one.get("score") for one in written["annotations"]] == [0.5, None]


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("../a.jpg", "file outside the root"),
        ("/etc/a.jpg", "file outside the root"),
        ("a\nb.jpg", "unusable file name"),
        ("\ud800.jpg", "unusable file name"),
        ("", "unusable file name"),
        ("x" * 252 + ".j", "unusable file name"),
        ("good.jpg", "same file as another"),
    ],
)
def test_images_that_no_reader_could_find_are_left_out(
    tmp_path: Path, file: str, problem: str
) -> None:
    good, bad = record("good.jpg", [DOG]), record("other.jpg", [DOG, DOG])
    left_out = write_coco([good, replace(bad, file=file)], tmp_path)
    assert left_out == {f"image ({problem})": 1, "box without image": 2}
    written = json.loads((tmp_path / "instances_train.json").read_text("utf-8"))
    assert [image["file_name"] for image in written["images"]] == ["good.jpg"]


def test_a_record_of_no_split_ends_with_a_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"record b-a is of the split '\.\./x', expected one of"):
        write_coco([record(split="../x")], tmp_path)


def test_an_error_on_the_way_leaves_no_file(tmp_path: Path) -> None:
    class Breaking:
        """Whole in the first round, broken in the second."""

        rounds = 0

        def __iter__(self):
            self.rounds += 1
            yield record("a.jpg", [DOG], source_captions=("A dog.",))
            if self.rounds == 2:
                raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        write_coco(Breaking(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_iterator_would_be_empty_in_the_second_round(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        write_coco(iter([record()]), tmp_path)


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    records = [record("a.jpg", [DOG]), record("b.jpg", [replace(DOG, label="übrig \U0001f415")])]
    write_coco(records, tmp_path / "one")
    write_coco(records, tmp_path / "two")
    first, second = (tmp_path / name / "instances_train.json" for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()
    assert "übrig \U0001f415" in first.read_text("utf-8")
