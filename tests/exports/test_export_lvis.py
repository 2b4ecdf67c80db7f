"""LVIS's files as they are written: federated lists, synonyms, frequencies."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from opendet.evaluation.annotations import read_annotations
from opendet.exports.lvis import write_lvis
from opendet.record import Record
from opendet.sources.lvis import list_lvis
from tests.exports.export_world import (
    DOG,
    as_records,
    assert_boxes_agree,
    judged,
    name_of,
    others_of,
    read_again,
    record,
    record_lists,
    written_regions,
)


def written(folder: Path, split: str = "train") -> Any:
    return json.loads((folder / f"lvis_{split}.json").read_text("utf-8"))


def categories(folder: Path) -> dict[str, dict[str, Any]]:
    return {category["name"]: category for category in written(folder)["categories"]}


def test_lists_synonyms_and_counts(tmp_path: Path) -> None:
    cur = replace(DOG, names=("cur",), other_labels=("hound",))  # hound is no word for a cur
    records = [
        record("a.jpg", [replace(DOG, other_labels=("hound",)), DOG], absent=judged("cat", "dog")),
        record("b.jpg", [replace(DOG, other_labels=("pup", "hound")), cur], partial=judged("bee")),
        record("c.jpg", [replace(DOG, label="ant", crowd=True)], split="val"),
    ]
    left_out = write_lvis(records, tmp_path)
    assert left_out == {"absent, yet present": 1, "crowd": 1, "other label": 2}
    train, val = written(tmp_path), written(tmp_path, "val")
    assert train["categories"] == val["categories"]
    assert [one["name"] for one in train["categories"]] == ["ant", "bee", "cat", "cur", "dog"]
    assert train["categories"][4] == {
        "id": 5,
        "name": "dog",
        "synonyms": ["dog", "hound", "pup"],
        "synset": "",
        "def": "",
        "frequency": "r",
        "image_count": 2,
        "instance_count": 3,
    }
    assert train["categories"][3]["synonyms"] == ["cur"]
    assert train["categories"][2]["image_count"] == 0
    first, second = train["images"]
    assert (first["neg_category_ids"], first["not_exhaustive_category_ids"]) == ([3], [])
    assert (second["neg_category_ids"], second["not_exhaustive_category_ids"]) == ([], [2])
    assert first["file_name"] == first["coco_url"] == "a.jpg"
    assert val["images"][0]["not_exhaustive_category_ids"] == [1], "the crowd's"
    assert val["annotations"] == []
    assert "iscrowd" not in train["annotations"][0]


@pytest.mark.parametrize(
    ("images", "frequency"), [(1, "r"), (10, "r"), (11, "c"), (100, "c"), (101, "f")]
)
def test_the_frequency_counts_images_and_not_objects(
    tmp_path: Path, images: int, frequency: str
) -> None:
    records = [record(f"{number}.jpg", [DOG, DOG, DOG]) for number in range(images)]
    write_lvis(records, tmp_path)
    dog = categories(tmp_path)["dog"]
    assert (dog["frequency"], dog["image_count"]) == (frequency, images)
    assert dog["instance_count"] == 3 * images


@settings(max_examples=60)
@given(record_lists())
def test_reading_gives_back_what_lvis_can_say(
    tmp_path_factory: pytest.TempPathFactory, records: list[Record]
) -> None:
    folder = tmp_path_factory.mktemp("lvis")
    write_lvis(records, folder)
    if not records:
        return
    synonyms: dict[str, set[str]] = {}
    for region in (region for one in records for region in written_regions(one, crowds=False)):
        synonyms.setdefault(name_of(region), set()).update(others_of(region))
    entries = list_lvis(folder, batch="b", images="", annotations="lvis_train.json", masks=True)
    for one, again in read_again(entries, records):
        kept = written_regions(one, crowds=False)
        crowds = [name_of(region) for region in written_regions(one) if region.crowd]
        assert_boxes_agree(kept, again.regions)
        assert [region.mask for region in again.regions] == [region.mask for region in kept]
        for region, back in zip(kept, again.regions, strict=True):
            assert back.label == name_of(region)
            assert set(back.other_labels) == synonyms[name_of(region)]
        partial = [judgement.name for judgement in one.partial] + crowds
        present = {name_of(region) for region in kept} | set(partial)
        absent = [judgement.name for judgement in one.absent if judgement.name not in present]
        assert {back.name for back in again.partial} == set(partial)
        assert {back.name for back in again.absent} == set(absent)
        assert again.licence == one.licence


def test_the_evaluator_reads_the_federation(tmp_path: Path) -> None:
    records = [
        record("a.jpg", [DOG], absent=judged("cat")),
        record("b.jpg", [replace(DOG, label="cat")], partial=judged("cat")),
    ]
    write_lvis(records, tmp_path)
    found = read_annotations(tmp_path / "lvis_train.json")
    assert [one.name for one in found.categories] == ["cat", "dog"]
    assert found.federation is not None
    assert found.federation.judged.tolist() == [[True, True], [True, False]]
    assert found.federation.partial.tolist() == [[False, False], [True, False]]


def test_real_annotations_come_back(shared_data: Path, tmp_path: Path) -> None:
    entries = list_lvis(
        shared_data / "lvis_sample",
        batch="b",
        images="images",
        annotations="lvis_v0.5_subset.json",
        masks=True,
    )
    records = as_records(entries)
    assert sum(len(one.regions) for one in records) == 47
    assert any(one.absent for one in records)
    assert write_lvis(records, tmp_path) == Counter()
    again = list_lvis(tmp_path, batch="b", images="", annotations="lvis_train.json", masks=True)
    for one, two in read_again(again, records):
        assert [region.label for region in two.regions] == [region.label for region in one.regions]
        assert two.regions == one.regions
        assert (set(two.absent), set(two.partial)) == (set(one.absent), set(one.partial))
