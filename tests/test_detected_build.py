"""Builds whose boxes come from detectors: each kind of them, through the stages themselves."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from onnx_world import write_constant
from tiny_closed_set import save_tiny_detr
from tiny_detectors import save_tiny_grounding_dino, save_tiny_owl
from tiny_sam import save_tiny_sam, save_tiny_sam3
from tiny_speaker import save_tiny_speaker

from opendet.record import Record
from opendet.schema import read_records
from opendet.train.export import Resize, export_model
from opendet.train.weights import own_tensors
from tests.cli_world import ROOT, SCENES, make_project, picture, run_cli
from tests.model.worlds import build_detector

SHARED = Path(os.environ.get("OPENDET_SHARED_DATA", "../shared/data"))
ALL = {"floor": 0.0, "min_score": 0.0, "most": 5, "device": "cpu"}
CARD = {**SCENES, "batches": [{"name": "train", "split": "train", "count": 2}]}


def zero_shot(folder: Path) -> dict[str, Any]:
    model = save_tiny_owl(folder / "owl", version=2)
    return {"annotator": "zero_shot", "model": str(model)}


def grounding_dino(folder: Path) -> dict[str, Any]:
    model = save_tiny_grounding_dino(folder / "dino", mm=True)
    return {"annotator": "zero_shot", "model": str(model), "text_threshold": 0.0}


def closed_set(folder: Path) -> dict[str, Any]:
    return {"annotator": "closed_set", "model": str(save_tiny_detr(folder / "detr"))}


def onnx(folder: Path) -> dict[str, Any]:
    said = {
        "boxes": np.array([[2, 2, 20, 20], [3, 3, 21, 21], [20, 20, 30, 31]], np.float32),
        "scores": np.array([0.9, 0.6, 0.4], np.float32),
        "labels": np.array([0, 1, 2], np.int64),
    }
    file = write_constant(folder / "detector.onnx", said)
    names = ["sofa", "couch", "cat"]
    return {"annotator": "onnx", "model": str(file), "layout": "nms", "class_names": names}


def own(folder: Path) -> dict[str, Any]:
    detector, model = build_detector(), folder / "mine"
    resize = Resize(shortest=32, longest=64, multiple=32)
    export_model(model, detector, own_tensors(detector), resize=resize, training={})
    return {"annotator": "opendet", "model": str(model)}


def concepts(folder: Path) -> dict[str, Any]:
    return {"annotator": "concepts", "model": str(save_tiny_sam3(folder / "sam3"))}


def speaker(folder: Path) -> dict[str, Any]:
    model = save_tiny_speaker(folder / "florence", "florence2")
    return {"annotator": "boxes_in_text", "model": str(model), "dialect": "florence2"}


def build(project: Path, *stages: str) -> list[Record]:
    stages = stages or ("source", "caption", "regions")
    ended = run_cli(project, "data", "build", *stages)
    assert ended.code == 0, ended.err
    folder = project / "datasets" / "tiny" / stages[-1]
    return [one for path in sorted(folder.glob("*.parquet")) for one in read_records(path)]


def _configure(project: Path, changed: dict[str, Any]) -> None:
    """Change keys of the section `regions`."""
    path = project / "configs" / "tiny.yaml"
    config = yaml.safe_load(path.read_text())
    config["regions"] |= changed
    path.write_text(yaml.safe_dump(config))


def detected(folder: Path, detector: dict[str, Any], **regions: Any) -> Path:
    """A project whose boxes that detector draws."""
    queries = {"vocabulary": ["red star", "cat"]}
    section = {"tagger": "grammar", "detectors": [{**ALL, **detector}], "queries": queries}
    return make_project(folder / "project", CARD, {"regions": {**section, **regions}})


@pytest.mark.parametrize(
    "save", [zero_shot, grounding_dino, closed_set, onnx, own, concepts, speaker]
)
def test_each_detector_labels_the_images_of_a_build(
    tmp_path: Path, save: Callable[[Path], dict[str, Any]]
) -> None:
    detector = save(tmp_path)
    project = detected(tmp_path, detector)
    records = build(project)
    assert len(records) == 2
    called = Path(detector["model"]).stem
    for record in records:
        for region in record.regions:
            assert (region.box_from.model, region.label) == (called, None)
            assert region.box_from.revision
            assert str(tmp_path) not in repr(region)
            x0, y0, x1, y1 = region.box_xyxy
            assert 0 <= x0 < x1 <= record.width
            assert 0 <= y0 < y1 <= record.height
            assert 0 <= (region.box_from.score or 0) <= 1
    if save is not speaker:  # weights of chance say nothing that reads as boxes
        assert all(record.regions for record in records)
    metrics = json.loads((project / "datasets/tiny/metrics/regions.json").read_text())["regions"]
    assert metrics["asked"] == 2
    assert metrics.get(f"boxes.by.{called}", 0) == sum(len(one.regions) for one in records)


def test_synonyms_are_joined_and_thresholds_keep_what_is_sure(tmp_path: Path) -> None:
    project = detected(tmp_path, onnx(tmp_path), detected_splits=["train"])
    [first, _] = build(project)
    # Of 32 x 32 pixels that the file takes, in an image of 64 x 64.
    assert [one.box_xyxy for one in first.regions] == [
        (4, 4, 40, 40),
        (6, 6, 42, 42),
        (40, 40, 60, 62),
    ]
    assert [one.names for one in first.regions] == [("sofa",), ("couch",), ("cat",)]
    close = {**ALL, **onnx(tmp_path), "cross_name_iou": 0.7, "min_score": 0.5}
    _configure(project, {"detectors": [close]})
    [first, _] = build(project)
    assert [one.names for one in first.regions] == [("sofa", "couch")]
    _configure(project, {"detectors": [{**close, "image_min_score": 0.95}]})
    assert [one.regions for one in build(project)] == [(), ()]


def test_the_sources_own_boxes_stay_go_or_are_filled_up(tmp_path: Path) -> None:
    project = detected(tmp_path, onnx(tmp_path), source_boxes="keep")
    both = build(project)
    own_boxes = [sum(one.label is not None for one in record.regions) for record in both]
    assert all(own_boxes)
    assert [len(record.regions) for record in both] == [number + 3 for number in own_boxes]
    _configure(project, {"source_boxes": "fill", "fill_iou": 0.01})
    filled = build(project)
    assert [sum(one.label is not None for one in record.regions) for record in filled] == own_boxes
    assert sum(len(one.regions) for one in filled) < sum(len(one.regions) for one in both)
    _configure(project, {"source_boxes": "replace"})
    assert all(one.label is None for record in build(project) for one in record.regions)
    _configure(project, {"detected_splits": ["val"]})
    assert all(one.label is not None for record in build(project) for one in record.regions)


def test_every_box_gets_a_mask(tmp_path: Path) -> None:
    sam = save_tiny_sam(tmp_path / "sam2", "sam2")
    project = detected(tmp_path, onnx(tmp_path), masks={"model": str(sam), "device": "cpu"})
    regions = [region for record in build(project) for region in record.regions]
    drawn = [region.mask for region in regions if region.mask is not None]
    assert drawn
    assert {mask.mask_from.model for mask in drawn} == {"sam2"}


def test_what_a_detector_found_is_described_filtered_and_packed(tmp_path: Path) -> None:
    """From the boxes of a detector to shards: its names are what training learns."""
    project = detected(tmp_path, onnx(tmp_path), tag_found=True)
    ended = run_cli(project, "data", "build")
    assert ended.code == 0, ended.err
    [record, _] = build(project, "filter")
    assert [one.names for one in record.regions] == [("sofa",), ("couch",), ("cat",)]
    assert record.tags == ("sofa", "couch", "cat")
    assert all(one.agreement is not None for one in record.regions)


def test_a_plain_folder_needs_no_captions_where_a_detector_looks(tmp_path: Path) -> None:
    card = {"name": "mine", "licence": "MIT", "format": "folder", "root": "pictures"}
    regions = {"tagger": "grammar", "detectors": [{**ALL, **onnx(tmp_path)}]}
    config = {"caption": {"without_caption": "keep"}, "regions": regions}
    rules = {"min_margin": None, "require_caption": False}
    project = make_project(
        tmp_path / "project",
        {**card, "batches": [{"name": "own", "split": "train"}]},
        {**config, "filter": rules},
    )
    (project / "pictures").mkdir()
    for number in range(3):
        (project / "pictures" / f"{number}.jpg").write_bytes(picture(number))
    ended = run_cli(project, "data", "build")
    assert ended.code == 0, ended.err
    records = build(project, "filter")
    assert [len(one.regions) for one in records] == [3, 3, 3]
    assert all((one.caption, one.caption_from, one.phrases) == ("", None, ()) for one in records)
    assert run_cli(project, "data", "why", records[0].key).code == 0
    assert run_cli(project, "data", "export", "coco", "out").code == 0


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"caption": {"without_caption": "keep"}}, "filter.require_caption drops what"),
        (
            {
                "caption": {"caption_empty_images": True},
                "regions": {"detectors": [{"annotator": "onnx", "model": "m"}]},
            },
            "calls an image empty before",
        ),
        (
            {
                "regions": {
                    "detectors": [{"annotator": "zero_shot", "model": "m"}],
                    "queries": {"caption_phrases": False, "tags": False},
                }
            },
            "queries has nothing to look for",
        ),
        ({"filter": {"min_side": float("inf")}}, "filter.min_side"),
    ],
)
def test_sections_that_undo_each_other_are_refused(
    tmp_path: Path, sections: dict[str, Any], said: str
) -> None:
    project = make_project(tmp_path / "project", CARD, sections)
    ended = run_cli(project, "data", "build", "source")
    assert (ended.code, said in ended.line) == (1, True), ended.err


@pytest.mark.parametrize(
    ("detector", "said"),
    [
        ({"annotator": "zero_shot", "model": "/nowhere"}, "there is no folder /nowhere"),
        ({"annotator": "onnx", "model": "no.onnx"}, "no.onnx"),
        (
            {"annotator": "nobody"},
            "detectors.0: no annotator is called 'nobody'; there are",
        ),
        ({"annotator": "zeroshot"}, "did you mean zero_shot?"),
        ({"annotator": "zero_shot", "model": "x", "min_skore": 1}, "did you mean min_score?"),
        ({}, "regions.detectors.0: its key annotator is missing"),
    ],
)
def test_a_wrong_detector_is_one_line(tmp_path: Path, detector: dict[str, Any], said: str) -> None:
    project = make_project(tmp_path / "project", CARD, {"regions": {"detectors": [detector]}})
    ended = run_cli(project, "data", "build", "source", "caption", "regions")
    assert ended.code == 1
    assert said in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err


@pytest.mark.skipif(not (SHARED / "fastestdet").is_dir(), reason="no shared data here")
def test_fastestdet_labels_real_photographs(tmp_path: Path) -> None:
    """A real detector labels COCO's photographs, and the source's own boxes judge it."""
    shared = SHARED.resolve()
    val = {"images": "val2017", "annotations": "annotations/instances_val2017.json"}
    captions = {"captions": "annotations/captions_val2017.json"}
    batch = {"name": "val2017", "split": "val", **val, **captions}
    named = {"name": "coco", "licence": "per image", "format": "coco"}
    card = {**named, "root": str(shared / "coco_tiny"), "batches": [batch]}
    config = yaml.safe_load((ROOT / "configs" / "coco_tiny_fastestdet.yaml").read_text())
    [detector] = config["regions"]["detectors"]
    detector["model"] = str(shared / "fastestdet" / "FastestDet.onnx")
    project = make_project(tmp_path / "project", card, {"regions": config["regions"]})
    assert len(build(project)) == 50
    ended = run_cli(project, "data", "judge", "--json")
    assert ended.code == 0, ended.err
    [quality] = json.loads(ended.out)["annotators"]
    assert quality["ap50"] >= 0.25
