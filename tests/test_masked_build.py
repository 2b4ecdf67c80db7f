"""A build whose source has masks: the stage `evaluate` draws masks of its own, and judges them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_sam import save_tiny_sam

from opendet.evaluation.predictions import read_predictions
from opendet.stage_order import STAGES
from tests.cli_world import COCO, make_project, picture, run_cli

pytestmark = pytest.mark.slow

BATCHES = [
    {"name": split, "split": split, "annotations": f"{split}.json", "masks": True}
    for split in ("train", "val")
]
DETECTOR = {
    "backbone": {"name": "tiny", "tiny_channels": [8, 16, 16, 16]},
    "width": 32,
    "encoder_layers": 1,
    "cross_layers": 1,
    "self_layers": 2,
    "heads": 4,
    "feedforward": 32,
    "queries": 12,
    "queries_min": 3,
    "denoising_pairs": 4,
    "distiller_hidden": 32,
}
CONFIG: dict[str, Any] = {
    "detector": DETECTOR,
    "namer": {
        "t5": "tiny",
        "prompt_width": 16,
        "tiny_width": 32,
        "tiny_feedforward": 32,
        "tiny_layers": 1,
    },
    "loader": {"batch_size": 2, "shortest_edges": [32], "longest_edge": 64, "evaluation_edge": 32},
    "train": {"steps": 2, "warmup": {"steps": 1, "batch_size": 4}},
    "evaluate": {"score_threshold": 0.0, "masks": {"model": "sam", "device": "cpu"}},
}


def write_pictures(root: Path, split: str, first: int, *, bare: int) -> None:
    """Four pictures with a triangle and a square each; `bare` of the squares have no mask."""
    folder = root / "pictures"
    folder.mkdir(exist_ok=True)
    images, boxes = [], []
    for number in range(first, first + 4):
        name = f"p{number}.jpg"
        (folder / name).write_bytes(picture(number))
        images.append({"id": number, "file_name": name, "width": 64, "height": 48})
        triangle = [[4, 4, 34, 4, 34, 34]]
        square = [] if number < first + bare else [[36, 10, 60, 10, 60, 34, 36, 34]]
        for box, shape, kind in (([4, 4, 30, 30], triangle, 0), ([36, 10, 24, 24], square, 1)):
            own = {"image_id": number, "category_id": kind, "bbox": box, "segmentation": shape}
            boxes.append(own)
    categories = [{"id": id_, "name": name} for id_, name in enumerate(("cat", "dog"))]
    world = {"images": images, "annotations": boxes, "categories": categories}
    (folder / f"{split}.json").write_text(json.dumps(world))


def evaluated(project: Path) -> dict[str, Any]:
    path = project / "datasets" / "tiny" / "metrics" / "evaluate.json"
    metrics: dict[str, Any] = json.loads(path.read_text())["evaluate"]
    return metrics


def test_masks_are_drawn_and_judged(tmp_path: Path) -> None:
    card = {**COCO, "batches": BATCHES}
    project = make_project(tmp_path / "project", card, CONFIG)
    write_pictures(project, "train", 0, bare=0)
    write_pictures(project, "val", 10, bare=1)
    save_tiny_sam(project / "sam", "sam")
    stages = [stage for stage in STAGES if stage not in ("prototypes", "report")]
    ended = run_cli(project, "data", "build", *stages)
    assert ended.code == 0, ended.err
    metrics = evaluated(project)
    assert metrics["masks"]["objects"] == 7
    assert metrics["masks"]["unmasked_objects"] == {"no mask": 1}
    assert metrics["masks"]["drawn"] > 0
    assert 0 <= metrics["agnostic_mask_ap"] <= 1
    assert set(metrics["named_mask_ap"]) == set(metrics["named_ap"])
    found = read_predictions(project / "datasets" / "tiny" / "evaluate" / "predictions.parquet")
    drawn = sum(code is not None for one in found for code in one.masks or ())
    assert drawn == metrics["masks"]["drawn"]

    # Another model in the same folder is another one; without a model no mask is judged.
    save_tiny_sam(project / "sam", "sam2")
    assert run_cli(project, "evaluate").code == 0
    assert evaluated(project)["agnostic_ap"] == metrics["agnostic_ap"]
    assert evaluated(project) != metrics
    config = project / "configs" / "tiny.yaml"
    plain = yaml.safe_load(config.read_text())
    del plain["evaluate"]["masks"]
    config.write_text(yaml.safe_dump(plain))
    assert run_cli(project, "evaluate").code == 0
    assert not [key for key in evaluated(project) if "mask" in key]
    assert evaluated(project)["agnostic_ap"] == metrics["agnostic_ap"]
