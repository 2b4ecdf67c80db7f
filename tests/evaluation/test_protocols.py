"""Official files judged as their benchmarks judge them, and what is wrong with others."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opendet.evaluation.annotations import AnnotatedSet, read_annotations
from opendet.evaluation.open_vocabulary import ov_coco_split
from opendet.evaluation.protocols import judge, known_protocol, require_fit
from opendet.evaluation.results import read_results, write_results
from opendet.evaluation.tables import FoundObjects
from tests.evaluation.official_world import random_lvis, write_json


def published(shared_data: Path) -> tuple[AnnotatedSet, FoundObjects, dict[str, Any]]:
    folder = shared_data / "coco_eval"
    known = read_annotations(folder / "instances_val2014_100.json")
    found = read_results(folder / "instances_val2014_fakebbox100_results.json", known)
    return known, found, json.loads((folder / "expected_pycocotools.json").read_text())


@pytest.mark.parametrize("protocol", ["coco", "objects365"])
def test_cocos_published_results(shared_data: Path, protocol: str) -> None:
    known, found, expected = published(shared_data)
    numbers = judge(known, found, known_protocol(protocol))
    assert round(numbers["AP"], 6) == 0.504581
    assert numbers == pytest.approx(expected["bbox"], abs=1e-12)


def test_class_agnostic_on_cocos_published_results(shared_data: Path) -> None:
    known, found, expected = published(shared_data)
    numbers, theirs = judge(known, found, "class_agnostic"), expected["bbox_class_agnostic"]
    for ours, name in {
        "AP": "AP",
        "AP50": "AP50",
        "AP75": "AP75",
        "AR@10": "AR10",
        "AR@100": "AR100",
        "AR@100_small": "ARs",
        "AR@100_medium": "ARm",
        "AR@100_large": "ARl",
    }.items():
        assert numbers[ours] == pytest.approx(theirs[name], abs=1e-12), ours


def test_a_box_of_several_classes_is_one_box_where_classes_do_not_count(
    shared_data: Path,
) -> None:
    known, found, _ = published(shared_data)
    doubled = FoundObjects(
        np.concatenate((found.image, found.image)),
        np.concatenate((found.category, (found.category + 1) % 80)),
        np.concatenate((found.boxes_xywh, found.boxes_xywh)),
        np.concatenate((found.scores, found.scores / 2)),
    )
    assert judge(known, doubled, "class_agnostic") == judge(known, found, "class_agnostic")
    assert judge(known, doubled, "coco")["AP"] != judge(known, found, "coco")["AP"]


def test_ov_coco_is_the_means_of_its_classes(shared_data: Path) -> None:
    known, found, expected = published(shared_data)
    numbers, split = judge(known, found, "ov_coco"), ov_coco_split()
    per_class = expected["bbox_per_class"]
    for group, names in split.items():
        values = [per_class[name] for name in names if per_class[name] is not None]
        assert numbers[f"AP_{group}"] == pytest.approx(np.mean(values), abs=1e-12)
    both = [per_class[name] for name in split["base"] + split["novel"]]
    assert numbers["AP"] == pytest.approx(np.mean([one for one in both if one is not None]))
    assert 0 < numbers["AP50_novel"] < 1


def test_ov_coco_split_is_the_fields(shared_data: Path) -> None:
    split = ov_coco_split()
    assert {name: len(own) for name, own in split.items()} == {"base": 48, "novel": 17}
    path = shared_data / "vocabularies" / "ov_coco_base48_novel17.json"
    listed = json.loads(path.read_text())
    assert list(split["base"]) == [one["name"] for one in listed["base48"]]
    assert list(split["novel"]) == [one["name"] for one in listed["novel17"]]


def test_results_round_trip_with_their_own_ids(tmp_path: Path) -> None:
    file, results = random_lvis(2)
    known = read_annotations(write_json(tmp_path / "a.json", file))
    found = read_results(write_json(tmp_path / "r.json", results), known)
    exact = FoundObjects(found.image, found.category, found.boxes_xywh / 3, found.scores / 7)
    write_results(tmp_path / "again.json", exact, known)
    again = read_results(tmp_path / "again.json", known)
    for name in ("image", "category", "boxes_xywh", "scores"):
        np.testing.assert_array_equal(getattr(again, name), getattr(exact, name))
    rows = json.loads((tmp_path / "again.json").read_text())
    assert [(one["image_id"], one["category_id"]) for one in rows] == [
        (one["image_id"], one["category_id"]) for one in results
    ]
    write_results(tmp_path / "none.json", FoundObjects(), known)
    assert len(read_results(tmp_path / "none.json", known)) == 0
    assert judge(known, FoundObjects(), "coco")["AP"] == 0


def with_result(**change: Any) -> list[dict[str, Any]]:
    """Results whose second row is wrong."""
    _, results = random_lvis(2)
    return [results[0], {**results[1], **change}]


@pytest.mark.parametrize(
    ("results", "said"),
    [
        (with_result(image_id=4), r"r\.json: 1\.image_id 4 is no image of .*a\.json: name the ann"),
        (with_result(category_id=0), r"r\.json: 1\.category_id 0 is no category of .*a\.json"),
        (with_result(bbox=[1, 2, 3]), r"r\.json: 1\.bbox\.3"),
        (with_result(score=None), r"r\.json: 1\.score: Input should be a valid number"),
        ({"annotations": []}, r"r\.json: its root: Input should be a valid array"),
    ],
)
def test_results_that_are_none(tmp_path: Path, results: Any, said: str) -> None:
    known = read_annotations(write_json(tmp_path / "a.json", random_lvis(2)[0]))
    with pytest.raises(ValueError, match=said) as raised:
        read_results(write_json(tmp_path / "r.json", results), known)
    assert "\n" not in str(raised.value)


def test_a_score_that_is_no_number(tmp_path: Path) -> None:
    known = read_annotations(write_json(tmp_path / "a.json", random_lvis(2)[0]))
    (tmp_path / "r.json").write_text(json.dumps(with_result(score=float("nan"))))
    with pytest.raises(ValueError, match=r"1\.score: Input should be a finite number"):
        read_results(tmp_path / "r.json", known)


def changed(**parts: Any) -> dict[str, Any]:
    return {**random_lvis(2)[0], **parts}


TWICE = [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]
STRAY = {"image_id": 4, "category_id": 3, "bbox": [0, 0, 1, 1]}


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (changed(images=[]), "images is empty: nothing can be judged"),
        (changed(categories=TWICE), "categories has the id 1 twice"),
        (changed(annotations=[STRAY]), r"annotations\.0\.image_id 4 is none of its images"),
        ([], "its root: Input should be"),
        ({"images": []}, "annotations: Field required"),
    ],
)
def test_annotations_that_are_none(tmp_path: Path, file: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        read_annotations(write_json(tmp_path / "a.json", file))
    assert "\n" not in str(raised.value)
    assert "a.json" in str(raised.value)


def test_files_that_are_away_or_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.json is missing"):
        read_annotations(tmp_path / "nowhere.json")
    (tmp_path / "a.json").write_text('{"images": [')
    with pytest.raises(ValueError, match=r"a\.json: its root: Invalid JSON"):
        read_annotations(tmp_path / "a.json")


UNLISTED = {"images": [{"id": 1}, {"id": 2, "coco_url": "http://images/val2017/x"}]}


@pytest.mark.parametrize(
    ("parts", "protocol", "said"),
    [
        ({}, "ov_coco", r"has no category person \(48 of OV-COCO's"),
        ({**UNLISTED, "annotations": []}, "lvis", "is no LVIS file: its images have no neg_categ"),
        ({**UNLISTED, "annotations": []}, "lvis_minival", "is no LVIS file"),
        ({"images": [{"id": 1}], "annotations": []}, "lvis_minival", "no image whose coco_url is"),
        ({"categories": TWICE[:1], "annotations": []}, "lvis", "category a has the frequency ''"),
    ],
)
def test_a_protocol_that_does_not_fit_is_told_before_anything_is_found(
    tmp_path: Path, parts: dict[str, Any], protocol: str, said: str
) -> None:
    known = read_annotations(write_json(tmp_path / "a.json", changed(**parts)))
    with pytest.raises(ValueError, match=said) as early:
        require_fit(known, known_protocol(protocol))
    with pytest.raises(ValueError, match=said) as late:
        judge(known, FoundObjects(), known_protocol(protocol))
    assert str(early.value) == str(late.value)


def test_protocols_that_fit(tmp_path: Path) -> None:
    known = read_annotations(write_json(tmp_path / "a.json", random_lvis(2)[0]))
    for protocol in ("coco", "objects365", "lvis", "lvis_minival", "class_agnostic"):
        require_fit(known, known_protocol(protocol))


def test_a_protocol_that_is_none() -> None:
    with pytest.raises(ValueError, match=r"no protocol is called 'LVIS'; there are coco, "):
        known_protocol("LVIS")
