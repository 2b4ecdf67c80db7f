"""LVIS: names as people write them, federated lists, urls for file names."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from opendet.curate.source_record import record_of
from opendet.evaluation.annotations import CategoryEntry, ImageEntry
from opendet.masks import compressed
from opendet.sources.card import Batch
from opendet.sources.images import inspect_image
from opendet.sources.listing import AnnotatedBox, Entry
from opendet.sources.lvis import LvisCategory, LvisImage, list_lvis

URL = "http://images.cocodataset.org/val2017/000000000139.jpg"


def world() -> dict[str, Any]:
    return {
        "images": [
            {
                "id": 139,
                "coco_url": URL,
                "width": 20,
                "height": 10,
                "license": 2,
                "neg_category_ids": [2, 999, 3],
                "not_exhaustive_category_ids": [1],
            },
            {"id": 140, "file_name": "a.jpg", "coco_url": URL},
        ],
        "categories": [
            {
                "id": 1,
                "name": "flip-flop_(sandal)",
                "synonyms": ["flip-flop_(sandal)", "beach_shoe"],
            },
            {"id": 2, "name": "bull", "synonyms": ["horned_cow"], "frequency": "f"},
            {"id": 3, "name": "octopus_(food)"},
        ],
        "annotations": [
            {
                "image_id": 139,
                "category_id": 1,
                "bbox": [1, 2, 3, 4],
                "segmentation": [[1, 2, 4, 2, 4, 6]],
            }
        ],
        "licenses": [{"id": 2, "name": "CC BY"}],
    }


def listed(folder: Path, data: Any, *, masks: bool = False) -> list[Entry]:
    (folder / "lvis.json").write_text(json.dumps(data), "utf-8")
    return list_lvis(folder, batch="b", images="images", annotations="lvis.json", masks=masks)


def test_names_synonyms_and_federated_lists(tmp_path: Path) -> None:
    other, first = listed(tmp_path, world())
    assert (first.file, other.file) == ("images/val2017/000000000139.jpg", "images/a.jpg")
    assert first.annotations == (
        AnnotatedBox((1, 2, 4, 6), "flip-flop (sandal)", other_labels=("beach shoe",)),
    )
    assert first.absent == ("bull", "octopus (food)")  # 999 has no category in this subset
    assert first.partial == ("flip-flop (sandal)",)
    assert (first.declared_size, first.licence) == ((20, 10), "CC BY")
    assert (other.absent, other.partial, other.annotations) == ((), (), ())


def test_masks_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    _, first = listed(tmp_path, world(), masks=True)
    assert first.annotations[0].mask == ((1, 2, 4, 2, 4, 6),)


def test_a_synonym_that_is_the_name_is_left_out() -> None:
    assert LvisCategory(1, "bull", ("horned_cow",)).words == ("bull", "horned cow")
    assert LvisCategory(1, "a_b", ("a_b", "c", "a b", "c")).words == ("a b", "c")


@pytest.mark.parametrize(("file_name", "url"), [("", URL), ("a/b.jpg", URL), ("", "a.jpg")])
def test_paths_and_words_are_those_of_the_evaluation(file_name: str, url: str) -> None:
    judged = ImageEntry(1, file_name=file_name, coco_url=url)
    assert LvisImage(1, file_name=file_name, coco_url=url).path == judged.path
    assert (
        LvisCategory(1, "flip-flop_(sandal)").words[0]
        == CategoryEntry(1, "flip-flop_(sandal)").words
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["images"][0].pop("coco_url"), r"images\.0 needs a file_name or a coco_url"),
        (lambda d: d["images"][1].update(id=139), r"images\.1\.id 139 belongs to 'val2017/"),
        (lambda d: d["images"][0].update(neg_category_ids=7), r"images\.0\.neg_category_ids"),
        (lambda d: d["annotations"][0].update(category_id=9), r"annotations\.0\.category_id 9"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2, 3]), r"annotations\.0\.bbox"),
        (lambda d: d["categories"][0].update(synonyms="a"), r"categories\.0\.synonyms"),
        (lambda d: d.pop("annotations"), "annotations: Field required"),
    ],
)
def test_a_wrong_structure_names_file_and_place(tmp_path: Path, change: Any, says: str) -> None:
    data = world()
    change(data)
    with pytest.raises(ValueError, match=rf"lvis\.json: {says}") as caught:
        listed(tmp_path, data)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_one_that_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"lvis\.json is missing: mend the batch"):
        list_lvis(tmp_path, batch="b", images="", annotations="lvis.json")
    (tmp_path / "lvis.json").write_text("images: []")
    with pytest.raises(ValueError, match=r"lvis\.json: .*Invalid JSON"):
        list_lvis(tmp_path, batch="b", images="", annotations="lvis.json")


def test_real_lvis(shared_data: Path) -> None:
    folder = shared_data / "lvis_sample"
    entries = list_lvis(
        folder, batch="b", images="images", annotations="lvis_v0.5_subset.json", masks=True
    )
    assert all((folder / entry.file).is_file() for entry in entries)
    boxes = [box for entry in entries for box in entry.annotations]
    assert (len(entries), len(boxes)) == (6, 47)
    labels = Counter(box.label for box in boxes)
    assert "_" not in "".join(labels)
    assert labels["motor scooter"] == sum("scooter" in box.other_labels for box in boxes) > 1
    assert sum(len(entry.absent) for entry in entries) == 57
    assert [entry.partial for entry in entries if entry.partial] == [
        ("headlight",),
        ("street sign",),
    ]
    for entry in entries:
        width, height = entry.declared_size or (0, 0)
        assert all(
            compressed(box.mask, (height, width), "m") for box in entry.annotations if box.mask
        )
    assert all(box.mask for box in boxes)


def test_real_lvis_becomes_records(shared_data: Path) -> None:
    folder = shared_data / "lvis_sample"
    batch = Batch(
        name="b", split="val", format="coco", root=str(folder), licence="mixed", annotations="a"
    )
    problems: Counter[str] = Counter()
    for entry in list_lvis(
        folder, batch="b", images="images", annotations="lvis_v0.5_subset.json", masks=True
    ):
        facts = inspect_image((folder / entry.file).read_bytes())
        record = record_of(entry, facts, problems, source="lvis", batch=batch)
        assert [region.label for region in record.regions] == [
            box.label for box in entry.annotations
        ]
        assert all(region.mask for region in record.regions)
        assert tuple(one.name for one in record.absent) == entry.absent
    assert not [problem for problem in problems if problem != "box.clipped"]
