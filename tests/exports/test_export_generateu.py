"""GenerateU's files as they are written, and read again."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from opendet.exports.generateu import write_generateu
from opendet.record import Record, Region
from opendet.sources.generateu import list_generateu
from tests.exports.export_world import (
    DOG,
    assert_boxes_agree,
    name_of,
    others_of,
    read_again,
    record,
    record_lists,
    written_regions,
)


def test_names_are_joined_and_ids_are_unique(tmp_path: Path) -> None:
    hound = replace(DOG, names=("dog, large", "hound", "dog  large"), crowd=True)
    records = [record("a.jpg", [DOG, hound]), record("b.jpg", [DOG], split="val")]
    # The source's own word for what is called a hound now is lost.
    assert write_generateu(records, tmp_path) == {"comma in a name": 1, "other label": 1}
    train = json.loads((tmp_path / "generateu_train.json").read_text("utf-8"))
    val = json.loads((tmp_path / "generateu_val.json").read_text("utf-8"))
    assert train["categories"] == val["categories"] == [{"id": 1, "name": "object"}]
    first, second = train["annotations"]
    assert first == {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [1.5, 2.0, 9.75, 6.0],
        "area": 58.5,
        "iscrowd": 0,
        "object_name": "dog",
    }
    assert (second["id"], second["object_name"], second["iscrowd"]) == (2, "dog large, hound", 1)
    assert [one["id"] for one in val["annotations"]] == [3]


def test_a_name_of_commas_is_none(tmp_path: Path) -> None:
    records = [record("a.jpg", [replace(DOG, label=", ,"), DOG])]
    assert write_generateu(records, tmp_path) == {"comma in a name": 1, "box without name": 1}


def plain(region: Region) -> list[str]:
    """All names without commas."""
    names = (name_of(region), *others_of(region))
    spaced = (" ".join(name.replace(",", " ").split()) for name in names)
    return list(dict.fromkeys(name for name in spaced if name))


@settings(max_examples=60)
@given(record_lists())
def test_reading_gives_back_what_generateu_can_say(
    tmp_path_factory: pytest.TempPathFactory, records: list[Record]
) -> None:
    folder = tmp_path_factory.mktemp("generateu")
    left_out = write_generateu(records, folder)
    if not records:
        return
    entries = list_generateu(folder, batch="b", images="", annotations="generateu_train.json")
    masks = 0
    for one, again in read_again(entries, records):
        kept = [region for region in written_regions(one) if plain(region)]
        assert_boxes_agree(kept, again.regions)
        names = [[region.label, *region.other_labels] for region in again.regions]
        assert names == [plain(region) for region in kept]
        assert [region.crowd for region in again.regions] == [region.crowd for region in kept]
        assert again.licence == one.licence
        masks += sum(region.mask is not None for region in written_regions(one))
    assert left_out["mask"] == masks


def test_an_iterator_would_be_empty_in_the_second_round(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        write_generateu(iter([record()]), tmp_path)


def test_images_without_objects_are_listed(tmp_path: Path) -> None:
    assert write_generateu([record()], tmp_path) == Counter()
    written = json.loads((tmp_path / "generateu_train.json").read_text("utf-8"))
    assert (len(written["images"]), written["annotations"]) == (1, [])
