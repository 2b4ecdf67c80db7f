"""LVIS's numbers equal those of its definition, written out in plain loops."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opendet.evaluation.annotations import read_annotations
from opendet.evaluation.counting import IOU_THRESHOLDS, SIZES
from opendet.evaluation.lvis import lvis_numbers, minival
from opendet.evaluation.results import read_results
from opendet.evaluation.tables import FoundObjects
from tests.evaluation.official_world import CATEGORY_IDS, FREQUENCIES, random_lvis, write_json

Json = dict[str, Any]


def iou_of(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)


def brute_force(file: Json, results: list[Json], per_category: int) -> dict[str, float]:
    """The definition (Gupta et al. 2019; Dave et al. 2021), one category and threshold at once."""
    curves = {
        (category, size): [
            _curve(file, _best(results, category, per_category), category, threshold, size)
            for threshold in IOU_THRESHOLDS
        ]
        for category in CATEGORY_IDS
        for size in SIZES
    }

    def mean(what: int, categories: Any, size: str = "all", thresholds: Any = range(10)) -> float:
        known = [
            curves[c, size][t][what]
            for c in categories
            for t in thresholds
            if curves[c, size][t] is not None
        ]
        return float(np.mean(known)) if known else float("nan")

    of_frequency = {
        letter: [c for c, own in zip(CATEGORY_IDS, FREQUENCIES, strict=True) if own == letter]
        for letter in "rcf"
    }
    return {
        "AP": mean(0, CATEGORY_IDS),
        "AP50": mean(0, CATEGORY_IDS, thresholds=[0]),
        "AP75": mean(0, CATEGORY_IDS, thresholds=[5]),
        "APs": mean(0, CATEGORY_IDS, "small"),
        "APm": mean(0, CATEGORY_IDS, "medium"),
        "APl": mean(0, CATEGORY_IDS, "large"),
        **{f"AP{letter}": mean(0, own) for letter, own in of_frequency.items()},
        "AR": mean(1, CATEGORY_IDS),
    }


def _best(results: list[Json], category: int, most: int) -> list[Json]:
    """Between equal scores the first of the file is kept, and then the lower image goes first."""
    own = [one for one in results if one["category_id"] == category]
    kept = sorted(own, key=lambda one: -one["score"])[:most]
    return sorted(kept, key=lambda one: (-one["score"], one["image_id"]))


def _curve(
    file: Json, found: list[Json], category: int, threshold: float, size: str
) -> tuple[float, float] | None:
    """(AP over 101 recall points, recall); None without an object of that size."""
    truth = [one for one in file["annotations"] if one["category_id"] == category]
    lowest, highest = SIZES[size]
    outside = {one["id"] for one in truth if not lowest <= one["area"] <= highest}
    total = len(truth) - len(outside)
    if not total:
        return None
    images = {one["id"]: one for one in file["images"]}
    taken: set[int] = set()
    hits: list[bool] = []
    for one in found:
        image, here = (
            images[one["image_id"]],
            [t for t in truth if t["image_id"] == one["image_id"]],
        )
        if not here and category not in image["neg_category_ids"]:
            continue  # Nobody looked for the category in this image.
        match = _match(one, here, threshold, outside, taken)
        if match is not None:
            taken.add(match)
            if match not in outside:
                hits.append(True)
            continue
        area = one["bbox"][2] * one["bbox"][3]
        if lowest <= area <= highest and category not in image["not_exhaustive_category_ids"]:
            hits.append(False)
    return _average(hits, total)


def _match(
    one: Json, here: list[Json], threshold: float, outside: set[int], taken: set[int]
) -> int | None:
    """The free object that it overlaps most; one of another size only if no other is there."""
    for group in (
        [t for t in here if t["id"] not in outside],
        [t for t in here if t["id"] in outside],
    ):
        best, chosen = min(threshold, 1 - 1e-10), None
        for other in group:
            overlap = iou_of(one["bbox"], other["bbox"])
            if other["id"] not in taken and overlap >= best:
                best, chosen = overlap, other["id"]
        if chosen is not None:
            return chosen
    return None


def _average(hits: list[bool], total: int) -> tuple[float, float]:
    right = np.cumsum(hits)
    precision = [(right[n] / (n + 1), right[n] / total) for n in range(len(hits))]
    points = [
        max((p for p, recall in precision if recall >= wanted), default=0.0)
        for wanted in np.linspace(0, 1, 101)
    ]
    return float(np.mean(points)), float(right[-1] / total) if len(hits) else 0.0


@pytest.mark.parametrize("per_category", [10_000, 4])
def test_equals_brute_force(tmp_path: Path, per_category: int) -> None:
    scored = 0
    for seed in range(40):
        file, results = random_lvis(seed)
        if not file["annotations"]:
            continue
        known = read_annotations(write_json(tmp_path / "a.json", file))
        found = read_results(write_json(tmp_path / "r.json", results), known)
        ours = lvis_numbers(known, found, per_category=per_category)
        theirs = brute_force(file, results, per_category)
        assert ours == pytest.approx(theirs, abs=1e-12, nan_ok=True), f"seed {seed}"
        scored += 0 < ours["AP"] < 1
    assert scored > 20


def one_image(**lists: list[int]) -> Json:
    file, _ = random_lvis(0)
    box = {"image_id": 1, "category_id": 3, "bbox": [0, 0, 10, 10], "area": 100, "id": 1}
    image = {"id": 1, "neg_category_ids": [], "not_exhaustive_category_ids": [], **lists}
    other = {"id": 2, "neg_category_ids": [], "not_exhaustive_category_ids": []}
    return {**file, "images": [image, other], "annotations": [box]}


@pytest.mark.parametrize(
    ("lists", "wrong_in", "ap"),
    [
        ({}, 1, 0.5),  # the false alarm comes first, where the category was looked for
        ({}, 2, 1.0),  # nobody looked for it there
        ({"not_exhaustive_category_ids": [3]}, 1, 1.0),  # it may be right
    ],
)
def test_federated_false_alarms(
    tmp_path: Path, lists: dict[str, list[int]], wrong_in: int, ap: float
) -> None:
    known = read_annotations(write_json(tmp_path / "a.json", one_image(**lists)))
    results = [
        {"image_id": 1, "category_id": 3, "bbox": [0, 0, 10, 10], "score": 0.5},
        {"image_id": wrong_in, "category_id": 3, "bbox": [50, 50, 10, 10], "score": 0.9},
    ]
    found = read_results(write_json(tmp_path / "r.json", results), known)
    assert lvis_numbers(known, found)["APr"] == pytest.approx(ap)


def test_an_image_has_no_limit_of_its_own(tmp_path: Path) -> None:
    """The right box is the 501st of its image: LVIS's first evaluator stopped at 300."""
    known = read_annotations(write_json(tmp_path / "a.json", one_image()))
    boxes_xywh = np.tile([500.0, 0, 10, 10], (501, 1))
    boxes_xywh[-1] = [0, 0, 10, 10]
    rows = np.zeros(501, np.int64)
    found = FoundObjects(rows, rows, boxes_xywh, np.linspace(1, 0.1, 501))
    assert lvis_numbers(known, found)["AR"] == 1.0
    assert lvis_numbers(known, found)["AP"] == pytest.approx(1 / 501)
    assert lvis_numbers(known, found, per_category=500)["AR"] == 0.0


def test_minival_is_the_part_of_val2017(tmp_path: Path) -> None:
    file, results = random_lvis(3)
    known = read_annotations(write_json(tmp_path / "a.json", file))
    part, kept = minival(known, read_results(write_json(tmp_path / "r.json", results), known))
    ids = {one["id"] for one in file["images"] if "val2017" in one["coco_url"]}
    assert 0 < len(ids) < len(file["images"])
    smaller = {
        **file,
        "images": [one for one in file["images"] if one["id"] in ids],
        "annotations": [one for one in file["annotations"] if one["image_id"] in ids],
    }
    alone = read_annotations(write_json(tmp_path / "b.json", smaller))
    own = [one for one in results if one["image_id"] in ids]
    found = read_results(write_json(tmp_path / "s.json", own), alone)
    assert lvis_numbers(part, kept) == pytest.approx(lvis_numbers(alone, found), nan_ok=True)
    for image in file["images"]:
        image["coco_url"] = ""
    with pytest.raises(ValueError, match=r"no image whose coco_url is of val2017"):
        minival(read_annotations(write_json(tmp_path / "a.json", file)), kept)


def test_what_is_no_lvis_is_one_line(tmp_path: Path) -> None:
    file, _ = random_lvis(1)
    for image in file["images"]:
        del image["neg_category_ids"]
    plain = read_annotations(write_json(tmp_path / "a.json", file))
    with pytest.raises(ValueError, match=r"a\.json is no LVIS file.*judge it as coco"):
        lvis_numbers(plain, FoundObjects())
    file, _ = random_lvis(1)
    file["categories"][0]["frequency"] = "often"
    odd = read_annotations(write_json(tmp_path / "a.json", file))
    with pytest.raises(ValueError, match="thing_40 has the frequency 'often', not one of r, c, f"):
        lvis_numbers(odd, FoundObjects())


def test_the_real_sample(shared_data: Path) -> None:
    known = read_annotations(shared_data / "lvis_sample" / "lvis_v0.5_subset.json")
    true = known.objects
    perfect = FoundObjects(true.image, true.category, true.boxes_xywh, np.ones(len(true.image)))
    numbers = lvis_numbers(known, perfect)
    assert (numbers["AP"], numbers["APc"], numbers["APf"], numbers["AR"]) == (1, 1, 1, 1)
    assert known.federation is not None
    assert known.federation.judged.sum() > len(np.unique(true.image * 1000 + true.category))
    everywhere = np.indices((len(known.images), len(known.categories))).reshape(2, -1)
    noise = FoundObjects(
        everywhere[0],
        everywhere[1],
        np.tile([0.0, 0, 1, 1], (everywhere.shape[1], 1)),
        np.ones(everywhere.shape[1]),
    )
    assert lvis_numbers(known, noise)["AP"] == 0
