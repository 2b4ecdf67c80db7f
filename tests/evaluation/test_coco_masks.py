"""Mask AP is pycocotools', and a mask that is none of its image is one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from opendet.evaluation.annotations import AnnotatedSet, read_annotations
from opendet.evaluation.counting import count
from opendet.evaluation.protocols import judge
from opendet.evaluation.results import read_results
from opendet.evaluation.tables import FoundObjects
from opendet.masks import Rle, compressed, mask_areas, mask_boxes_xywh
from tests.cli_world import run_cli
from tests.evaluation.official_world import (
    assert_same,
    joined,
    pycocotools_of,
    random_lvis,
    random_masks,
    write_json,
    written,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools'

Json = dict[str, Any]
SQUARE = [2.0, 1, 2, 4, 5, 4, 5, 1]  # 3 x 3 pixels from (2, 1)


def read(folder: Path, file: Json, results: list[Json]) -> tuple[AnnotatedSet, FoundObjects]:
    known = read_annotations(write_json(folder / "a.json", file), masks=True)
    return known, read_results(write_json(folder / "r.json", results), known, masks=True)


def test_cocos_published_results(shared_data: Path) -> None:
    folder = shared_data / "coco_eval"
    known = read_annotations(folder / "instances_val2014_100.json", masks=True)
    path = folder / "instances_val2014_fakesegm100_results.json"
    numbers = judge(known, read_results(path, known, masks=True), "coco_masks")
    expected = json.loads((folder / "expected_pycocotools.json").read_text())["segm"]
    assert len(numbers) == 12
    assert round(numbers["AP"], 6) == 0.319545
    assert numbers == pytest.approx(expected, abs=1e-12)


def assert_parity(folder: Path, seeds: range) -> None:
    """Every category, threshold, recall point, size and limit, not only the means."""
    scored = 0
    for seed in seeds:
        file, results = random_masks(seed)
        known, found = read(folder, file, results)
        images, categories = len(known.images), len(known.categories)
        ours = count(known.objects, found, images=images, categories=categories, by_masks=True)
        theirs = pycocotools_of(file, as_codes(file, results), "segm")
        assert_same(ours, theirs, f"seed {seed}")
        scored += int(ours.precision.max() > 0)
    assert scored > len(seeds) / 2


def as_codes(file: Json, results: list[Json]) -> list[Json]:
    """pycocotools takes the size of a found object from a compressed code alone."""
    sizes = {one["id"]: (one["height"], one["width"]) for one in file["images"]}
    return [
        {**one, "segmentation": as_code(one["segmentation"], *sizes[one["image_id"]])}
        for one in results
    ]


def as_code(segmentation: Any, height: int, width: int) -> Any:
    if isinstance(segmentation, list):
        return joined(segmentation, height, width)
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, height, width)
    return segmentation


def test_equals_pycocotools_on_random_sets(tmp_path: Path) -> None:
    assert_parity(tmp_path, range(100))


@pytest.mark.slow
def test_equals_pycocotools_on_a_thousand_random_sets(tmp_path: Path) -> None:
    assert_parity(tmp_path, range(1000))


@pytest.mark.parametrize("way", range(3))
def test_a_square_worked_by_hand(way: int) -> None:
    segmentation = written(way, [SQUARE], 6, 8)
    rle = Rle((6, 8), segmentation["counts"]) if way else segmentation
    code = compressed(rle, (6, 8), "here")
    assert code == joined([SQUARE], 6, 8)
    assert mask_areas([code]).tolist() == [9]
    assert mask_boxes_xywh([code]).tolist() == [[2, 1, 3, 3]]


def small(**change: Any) -> tuple[Json, list[Json]]:
    """An image of 6 x 8 pixels with a square that is found; `change` is the finding's."""
    file = {
        "images": [{"id": 1, "height": 6, "width": 8}, {"id": 2, "height": 6, "width": 8}],
        "categories": [{"id": 1, "name": "square"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": [2, 1, 3, 3], "segmentation": [SQUARE]}
        ],
    }
    result = {"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": [SQUARE], **change}
    return file, [result]


def test_the_mask_counts_and_not_the_box(tmp_path: Path) -> None:
    """A box that some files give too changes nothing, and an area that is away is the mask's."""
    for file, results in (small(), small(bbox=[0, 0, 500, 500])):
        known, found = read(tmp_path, file, results)
        assert known.objects.areas.tolist() == [9]
        assert found.boxes_xywh.tolist() == [[2, 1, 3, 3]]
        numbers = judge(known, found, "coco_masks")
        assert (numbers["AP"], numbers["APs"], numbers["AR1"]) == (1, 1, 1)
    file, results = small(segmentation=[[2, 1, 2, 4, 5, 4]], bbox=[2, 1, 3, 3])
    known, found = read(tmp_path, file, results)
    assert judge(known, found, "coco_masks")["AP75"] == 0, "half of the square"


def test_what_is_taken_out_keeps_its_masks(tmp_path: Path) -> None:
    known, found = read(tmp_path, *random_masks(3))
    assert found.masks is not None
    assert known.objects.masks is not None
    best = found.best_per_category(2)
    assert best.masks is not None
    assert mask_boxes_xywh(best.masks).tolist() == best.boxes_xywh.tolist()
    part = known.of_images(np.array([1])).objects
    assert part.masks is not None
    assert part.masks.tolist() == known.objects.masks[known.objects.image == 1].tolist()


def test_nothing_found_and_nothing_to_find(tmp_path: Path) -> None:
    file, results = small()
    known, found = read(tmp_path, file, [])
    assert judge(known, found, "coco_masks")["AP"] == 0
    known, found = read(tmp_path, {**file, "annotations": []}, results)
    assert np.isnan(judge(known, found, "coco_masks")["AP"])


def test_boxes_are_read_without_their_polygons(tmp_path: Path) -> None:
    file, results = small(bbox=[2, 1, 3, 3])
    file["annotations"][0]["segmentation"] = "no mask at all"
    del file["images"][0]["height"]
    known = read_annotations(write_json(tmp_path / "a.json", file))
    found = read_results(write_json(tmp_path / "r.json", results), known)
    assert (known.objects.masks, found.masks) == (None, None)
    assert judge(known, found, "coco")["AP"] == 1


def code(counts: Any, size: Any = (6, 8)) -> Json:
    return {"size": size, "counts": counts}


BROKEN = {
    "null": (None, ".polygons: Input should be a valid"),
    "no polygon": ([], ".polygons: Tuple should have at least 1 item"),
    "a box": ([[2, 1, 3, 3]], ".polygons.0: Tuple should have at least 6 items"),
    "an x without a y": ([SQUARE, [1, 2, 3, 4, 5, 6, 7]], ".1 has an x without a y"),
    "not finite": ([[1, 2, 3, 4, 5, float("nan")]], ".polygons.0.5: Input should be"),
    "far away": ([[1, 2, 3, 4, 5, 1e9]], ".polygons.0.5: Input should be less than or equal to"),
    "no counts": ({"size": [6, 8]}, ".rle.counts: Field required"),
    "no numbers": (code("é"), ".counts is no RLE: RLE string is malformed"),
    "cut short": (code("83"), ".counts is no RLE of its image: it has 11 pixels and the image 48"),
    "too long": (code("83" * 9), ".counts is no RLE: RLE counts exceed the mask dimensions"),
    "too few": (code([8, 3]), ".counts is no RLE of its image: it has 11 pixels and the image 48"),
    "too many": (code([2**70]), ".counts is no RLE of its image"),
    "below zero": (code([50, -2]), ".counts is no RLE: a run has -2 pixels"),
    "no number": (code([48, "a"]), ".rle.counts.tuple[int, ...].1: Input should be a valid int"),
    "another size": (code([48], [8, 6]), ".size [8, 6] is not its image's [6, 8]"),
}


@pytest.mark.parametrize(("segmentation", "said"), BROKEN.values(), ids=BROKEN)
def test_a_broken_mask_is_one_line(tmp_path: Path, segmentation: Any, said: str) -> None:
    file, results = small(segmentation=segmentation)
    write_json(tmp_path / "r.json", results)
    write_json(tmp_path / "a.json", file)
    ended = run_cli(tmp_path, "judge", "a.json", "r.json", "--protocol", "coco_masks")
    assert ended.code == 1
    assert f"r.json: 0.segmentation{said}" in ended.line
    file["annotations"][0]["segmentation"] = segmentation
    write_json(tmp_path / "a.json", file)
    ended = run_cli(tmp_path, "judge", "a.json", "r.json", "--protocol", "coco_masks")
    assert ended.code == 1
    assert f"a.json: annotations.0.segmentation{said}" in ended.line


def test_what_lacks_masks_is_one_line(tmp_path: Path) -> None:
    file, boxes = random_lvis(2)
    write_json(tmp_path / "boxes.json", boxes)
    write_json(tmp_path / "unsized.json", file)
    file, results = small()
    write_json(tmp_path / "a.json", file)
    write_json(tmp_path / "r.json", results)
    del file["annotations"][0]["segmentation"]
    write_json(tmp_path / "unmasked.json", file)
    for files, said in {
        ("a.json", "boxes.json"): "boxes.json: 0.segmentation: Field required",
        ("unmasked.json", "r.json"): "unmasked.json: annotations.0.segmentation: Field required",
        ("unsized.json", "r.json"): "has no height and width in pixels: masks need both",
        ("a.json", "new.json", "--images", "."): "coco_masks judges masks and Open-Det finds box",
    }.items():
        ended = run_cli(tmp_path, "judge", *files, "--protocol", "coco_masks")
        assert ended.code == 1
        assert said in ended.line


@pytest.mark.parametrize("side", [0, -6, 10**6, 2**70])
def test_a_size_that_is_none_is_one_line(tmp_path: Path, side: int) -> None:
    file, results = small(image_id=2)
    file["images"][1]["width"] = side
    with pytest.raises(ValueError, match=r"a\.json: image 2 has no height and width in pixels"):
        read(tmp_path, file, results)


def test_the_command(tmp_path: Path) -> None:
    file, results = random_masks(4)
    known, found = read(tmp_path, file, results)
    wanted = judge(known, found, "coco_masks")
    ended = run_cli(tmp_path, "judge", "a.json", "r.json", "--protocol", "coco_masks", "--json")
    assert (ended.code, ended.err) == (0, "")
    said = {name: None if np.isnan(one) else one for name, one in wanted.items()}
    assert json.loads(ended.out) == said
