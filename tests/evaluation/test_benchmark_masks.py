"""From pictures and COCO's masks to official results with masks, and their numbers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_sam import save_tiny_sam

from opendet.annotators.segment import mask_codes
from opendet.curate.clip import build_clip
from opendet.evaluation.annotations import AnnotatedSet, read_annotations
from opendet.evaluation.benchmark import detect_benchmark, judge_of
from opendet.evaluation.config import EvaluateConfig
from opendet.evaluation.protocols import judge
from opendet.evaluation.results import read_results, write_results
from opendet.train.export import Resize, export_model
from opendet.train.weights import own_tensors
from tests.cli_world import run_cli
from tests.clip_world import TINY, samples
from tests.evaluation.official_world import random_masks, write_json
from tests.evaluation.test_benchmark import words
from tests.evaluation.test_evaluate import Found
from tests.model.worlds import build_detector

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools'

CONFIG = EvaluateConfig(protocol="generateu")


def pictures(folder: Path) -> AnnotatedSet:
    """A grey picture for each image; its brightness tells which one it is."""
    file, _ = random_masks(3)
    for number, image in enumerate(sorted(file["images"], key=lambda one: one["id"])):
        image["file_name"] = f"{image['id']}.png"
        size = image["width"], image["height"]
        Image.new("L", size, number).save(folder / image["file_name"])
    return read_annotations(write_json(folder / "a.json", file), masks=True)


def seer(known: AnnotatedSet, undrawn: Sequence[int] = ()) -> Any:
    """Finds every object and draws its mask, but for those of the `undrawn`."""
    masks = known.objects.masks
    assert masks is not None

    def look(image: Image.Image) -> Found:
        rows = np.flatnonzero(known.objects.image == image.getpixel((0, 0))[0])
        xywh = known.objects.boxes_xywh[rows]
        boxes_xyxy = np.concatenate((xywh[:, :2], xywh[:, :2] + xywh[:, 2:]), 1)
        names = [[known.categories[c].words] for c in known.objects.category[rows]]
        drawn = [None if row in undrawn else masks[row]["counts"].decode() for row in rows]
        scores = torch.full((len(rows),), 0.9)
        return Found(torch.from_numpy(boxes_xyxy), scores, names, masks=drawn)

    return lambda images: [look(image) for image in images]


def test_a_detector_that_draws_all_is_perfect_and_its_file_says_the_same(tmp_path: Path) -> None:
    known = pictures(tmp_path)
    reader = judge_of(known, words, None, CONFIG)
    found = detect_benchmark(seer(known), known, tmp_path, reader, CONFIG)
    numbers = judge(known, found, "coco_masks")
    assert numbers["AP"] == pytest.approx(1.0)
    write_results(tmp_path / "r.json", found, known)
    again = read_results(tmp_path / "r.json", known, masks=True)
    assert judge(known, again, "coco_masks") == pytest.approx(numbers, abs=0, nan_ok=True)
    rows = json.loads((tmp_path / "r.json").read_text())
    assert all(row.keys() == {"image_id", "category_id", "segmentation", "score"} for row in rows)


def test_what_is_not_drawn_is_not_in_the_results(tmp_path: Path) -> None:
    known = pictures(tmp_path)
    reader = judge_of(known, words, None, CONFIG)
    first = int(np.flatnonzero(~known.objects.crowd)[0])
    everything = detect_benchmark(seer(known), known, tmp_path, reader, CONFIG)
    found = detect_benchmark(seer(known, [first]), known, tmp_path, reader, CONFIG)
    assert len(everything) - len(found) == 4, "once for each of 4 categories"
    assert judge(known, found, "coco_masks")["AP"] < 1.0


def test_a_picture_of_another_size_than_its_entry_is_one_line(tmp_path: Path) -> None:
    known = pictures(tmp_path)
    entry = known.images[0]
    assert entry.width is not None
    assert entry.height is not None
    Image.new("L", (entry.width + 1, entry.height)).save(tmp_path / entry.path)

    def detect(images: list[Image.Image]) -> list[Found]:
        inside = [torch.ones(1, one.height, one.width, dtype=torch.bool) for one in images]
        box = torch.tensor([[0.0, 0, 1, 1]])
        return [Found(box, torch.ones(1), [["it"]], masks=mask_codes(one)) for one in inside]  # type: ignore[arg-type]

    reader = judge_of(known, words, None, CONFIG)
    said = rf"a\.json: image {entry.id}: masks\.0\.counts is no RLE"
    with pytest.raises(ValueError, match=said) as told:
        detect_benchmark(detect, known, tmp_path, reader, CONFIG)
    assert "\n" not in str(told.value)


def test_the_command_from_pictures_to_masks(tmp_path: Path) -> None:
    known = pictures(tmp_path)
    detector = build_detector()
    resize = Resize(shortest=32, longest=64, multiple=32)
    export_model(tmp_path / "model", detector, own_tensors(detector), resize=resize, training={})
    save_tiny_sam(tmp_path / "sam", "sam")
    build_clip(samples(), TINY, seed=0, folder=tmp_path / "clip")
    files = ("a.json", "found.json", "--images", ".", "--model", "model", "--clip", "clip")
    masks = ("--protocol", "coco_masks", "--json")
    ended = run_cli(tmp_path, "judge", *files, "--masks", "sam", *masks)
    assert (ended.code, ended.err) == (0, "")
    assert len(read_results(tmp_path / "found.json", known, masks=True)) > 0
    again = run_cli(tmp_path, "judge", "a.json", "found.json", *masks)
    assert again.out == ended.out, "what was written gives the numbers that were told"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--masks", "sam"), "coco judges boxes: leave --masks out, or judge as coco_masks"),
        (("--masks", "sam", "--protocol", "coco_masks"), "name --images too"),
        (("--images", ".", "--protocol", "coco_masks"), "draws masks with --masks"),
    ],
)
def test_a_wrong_command_is_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    pictures(tmp_path)
    ended = run_cli(tmp_path, "judge", "a.json", "r.json", *arguments)
    assert ended.code == 1
    assert said in ended.line
