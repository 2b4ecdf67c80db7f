"""What becomes of what detectors found: thresholds, questions, the source's own boxes, phrases."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_world import write_constant
from PIL import Image
from pydantic import ValidationError

from opendet.annotators.concepts import ConceptsConfig
from opendet.annotators.detection import Found
from opendet.annotators.onnx_detector import OnnxConfig
from opendet.annotators.zero_shot import ZeroShotConfig
from opendet.curate.filter import FilterConfig, filter_record
from opendet.curate.finding import (
    FindConfig,
    above_thresholds,
    pieces,
    rounded,
    weights_of,
    with_found,
)
from opendet.curate.regions import RegionFinder, RegionsConfig
from opendet.record import BoxXYXY, Phrase, Provenance, Record, Region
from opendet.sample import Sample

SOURCE = Provenance("source")
CAT: BoxXYXY = (4, 4, 40, 40)
DOG: BoxXYXY = (50, 50, 60, 60)


def region(box_xyxy: BoxXYXY, by: str, name: str, **fields: Any) -> Region:
    label = name if by == "source" else None
    return Region(box_xyxy, Provenance(by), label=label, names=(name,), **fields)


def record(*regions: Region, **fields: Any) -> Record:
    bare = ("a-0", "s", "a", "train", "CC0-1.0", "x.png", "png", 1, "0" * 64, 64, 64)
    return Record(*bare, regions=regions, **{"caption": "A cat sits by a dog.", **fields})


def found(*scores: float) -> list[Found]:
    return [Found((10 * n, 0, 10 * n + 9, 9), "cat", score) for n, score in enumerate(scores)]


def test_an_image_is_kept_where_one_box_is_sure_and_then_its_doubtful_ones_too() -> None:
    config = ZeroShotConfig(model="m", min_score=0.1, image_min_score=0.3)
    kept = above_thresholds(found(0.31, 0.1, 0.09), config)
    assert [thing.score for thing in kept] == [0.31, 0.1]
    assert above_thresholds(found(0.29, 0.2), config) == []
    assert above_thresholds([], config) == []


def test_long_lists_are_asked_in_pieces_where_a_detector_is_told_names() -> None:
    names = tuple(f"name {number}" for number in range(95))
    asked = pieces(names, ZeroShotConfig(model="m"))
    assert [len(piece) for piece in asked] == [40, 40, 15]
    assert tuple(name for piece in asked for name in piece) == names
    assert pieces((), ZeroShotConfig(model="m")) == []
    assert pieces(names, OnnxConfig(model="m")) == [()]
    assert pieces(names, ConceptsConfig(model="m")) == [names]  # it looks at an image once


def test_what_is_remembered_is_rounded_and_stays_a_box() -> None:
    thing = rounded(Found((1.23456, 0.001, 7.9999, 8.0), "cat", 0.123456789))
    assert (thing.box_xyxy, thing.score) == ((1.23, 0.0, 8.0, 8.0), 0.123457)
    thin = Found((1.001, 0, 1.004, 8), "cat", 0.5)
    assert rounded(thin) == thin


def test_fill_adds_only_what_overlaps_no_box_of_the_source() -> None:
    own = record(region(CAT, "source", "cat"))
    new = [region((5, 5, 41, 41), "a", "kitten"), region(DOG, "a", "dog")]
    filled = with_found(own, new, FindConfig(source_boxes="fill"))
    assert [one.names for one in filled.regions] == [("cat",), ("dog",)]
    both = with_found(own, new, FindConfig(source_boxes="keep"))
    assert len(both.regions) == 3
    assert with_found(record(), new, FindConfig(source_boxes="fill")).regions == tuple(new)
    assert with_found(own, [], FindConfig(source_boxes="fill")).regions == own.regions


def test_what_two_detectors_agree_on_fills_up_the_source() -> None:
    """The source's boxes need nobody; a detector's need another one's; a witness adds none."""
    regions = (
        region(CAT, "source", "cat"),
        region(DOG, "first", "dog", seconded=0.9),
        region((0, 50, 9, 60), "first", "ghost"),
        region((51, 50, 61, 60), "second", "dog", seconded=0.9),
    )
    config = FilterConfig(min_seconded=0.8, min_margin=None)
    judged = filter_record(record(*regions), config)
    assert isinstance(judged, Record)
    said = [one.refusal for one in judged.regions]
    assert said == ["", "", "not seconded", "second opinion"]


@pytest.fixture
def detector(tmp_path: Path) -> dict[str, Any]:
    said = {
        "boxes": np.array([[2, 2, 20, 20]], np.float32),
        "scores": np.array([0.9], np.float32),
        "labels": np.array([0], np.int64),
    }
    file = write_constant(tmp_path / "detector.onnx", said)
    return {"annotator": "onnx", "model": str(file), "layout": "nms", "class_names": ["cat"]}


@pytest.mark.parametrize(("source_boxes", "grounded"), [("replace", (0,)), ("keep", (1,))])
def test_the_source_s_phrases_follow_the_boxes(
    detector: dict[str, Any], source_boxes: str, grounded: tuple[int, ...]
) -> None:
    config = RegionsConfig.model_validate(
        {"tagger": "grammar", "detectors": [detector], "source_boxes": source_boxes}
    )
    own = record(
        region(DOG, "source", "dog"),
        region(CAT, "source", "cat"),
        phrases=(Phrase(0, 5, (1,), SOURCE),),
    )
    [out] = RegionFinder(config)([Sample(own, Image.new("RGB", (64, 64)))])
    assert isinstance(out, Record)
    assert out.phrases[0].regions == grounded
    assert (out.phrases[0].start, out.phrases[0].end) == (0, 5)


def test_other_weights_under_the_same_name_are_another_stage(
    detector: dict[str, Any], tmp_path: Path
) -> None:
    config = FindConfig.model_validate({"detectors": [detector]})
    before = weights_of(config)
    assert len(before) == 1
    said = {
        "boxes": np.zeros((1, 4), np.float32),
        "scores": np.zeros(1, np.float32),
        "labels": np.zeros(1, np.int64),
    }
    write_constant(tmp_path / "detector.onnx", said)
    assert weights_of(config) != before
    assert weights_of(FindConfig()) == {}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"detectors": [{"annotator": "zero_shot", "model": "m"}] * 2}, "detectors.0 again"),
        ({"detected_splits": ["training"]}, "'train', 'val' or 'test'"),
        (
            {"detectors": [{"annotator": "zero_shot", "model": "m", "min_score": 0.01}]},
            "below floor",
        ),
    ],
)
def test_what_would_silently_do_nothing_is_refused(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        FindConfig.model_validate(config)
