"""A detector is known by what lies in its folder or file, and told what it can be told."""

from pathlib import Path

import numpy as np
import pytest
from onnx_world import write_constant
from tiny_closed_set import save_tiny_detr
from tiny_detectors import save_tiny_grounding_dino, save_tiny_owl
from tiny_speaker import save_tiny_speaker

from opendet.annotate.detectors import _layout, detector_section
from opendet.config import Config
from opendet.train.export import Resize, export_model
from opendet.train.weights import own_tensors
from tests.model.worlds import build_detector

NAMED = {"names": str({0: "cat", 1: "dog"})}


def write_onnx(path: Path, metadata: dict[str, str] | None = None) -> Path:
    said = {
        "boxes": np.array([[2, 2, 20, 20]], np.float32),
        "scores": np.array([0.9], np.float32),
        "labels": np.array([0], np.int64),
    }
    return write_constant(path, said, metadata=metadata)


def test_zero_shot_detectors_are_told_names(tmp_path: Path) -> None:
    for folder in (
        save_tiny_owl(tmp_path / "owl", version=2),
        save_tiny_grounding_dino(tmp_path / "dino", mm=True),
    ):
        section = detector_section(str(folder), ("cat",))
        assert section == {"annotator": "zero_shot", "model": str(folder)}
        with pytest.raises(ValueError, match="has to be told what to look for: give --names"):
            detector_section(str(folder), ())


def test_florence_says_what_it_sees_or_looks_for_names(tmp_path: Path) -> None:
    folder = str(save_tiny_speaker(tmp_path / "florence", "florence2"))
    told = {"annotator": "boxes_in_text", "dialect": "florence2", "model": folder}
    assert detector_section(folder, ("cat",)) == told
    assert detector_section(folder, ()) == {**told, "prompt": "<OD>"}


def test_detectors_with_names_of_their_own(tmp_path: Path) -> None:
    detr = str(save_tiny_detr(tmp_path / "detr"))
    own = tmp_path / "own"
    detector, resize = build_detector(), Resize(shortest=32, longest=64, multiple=32)
    export_model(own, detector, own_tensors(detector), resize=resize, training={})
    onnx = str(write_onnx(tmp_path / "yolo.onnx", NAMED))
    assert detector_section(detr, ()) == {"annotator": "closed_set", "model": detr}
    assert detector_section(str(own), ()) == {"annotator": "opendet", "model": str(own)}
    section = {"annotator": "onnx", "model": onnx, "layout": "nms"}
    assert detector_section(onnx, ()) == section
    for one in (detr, str(own), onnx):
        with pytest.raises(ValueError, match="has names of its own, and cannot be told others"):
            detector_section(one, ("cat",))
        Config.model_validate({"regions": {"detectors": [detector_section(one, ())]}})


def test_a_file_without_names_is_given_them(tmp_path: Path) -> None:
    path = str(write_onnx(tmp_path / "yolo.onnx"))
    section = detector_section(path, ("cat", "dog"))
    assert section["class_names"] == ["cat", "dog"]
    with pytest.raises(ValueError, match="does not say what its classes are called: give all of"):
        detector_section(path, ())


def test_too_few_names_are_told_before_a_data_set_is_begun(tmp_path: Path) -> None:
    said = {"output": np.zeros((1, 8, 4, 4), np.float32)}
    path = str(write_constant(tmp_path / "fastest.onnx", said))
    assert detector_section(path, ("cat", "dog", "owl"))["layout"] == "fastestdet"
    with pytest.raises(
        ValueError, match=r"^--detector with --names: fastest\.onnx: .* name 3 classes"
    ) as error:
        detector_section(path, ("cat", "dog"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("shapes", "layout"),
    [
        ([[1, 85, 22, 22]], "fastestdet"),
        ([[1, 84, 8400]], "yolov8"),
        ([[1, 6, 8400]], "yolov8"),
        ([[1, 84, "anchors"]], "yolov8"),
        ([[1, 25200, 85]], "yolov5"),
        ([[1, 25200, 6]], "yolov5"),
        ([[1, 300, 6]], "nms"),
        ([["boxes", 4], ["boxes"], ["boxes"]], "nms"),
    ],
)
def test_outputs_tell_their_layout(shapes: list[list[int | str | None]], layout: str) -> None:
    assert _layout(shapes, "x.onnx") == layout


@pytest.mark.parametrize(
    ("detector", "said"),
    [
        ("gone.onnx", "--detector: there is no file gone.onnx"),
        ("./gone", "--detector: there is no folder ./gone"),
        ("nobody/nothing", "name another one by --detector: an .onnx file, or a model's folder"),
    ],
)
def test_what_is_not_there_is_one_line(detector: str, said: str) -> None:
    with pytest.raises(ValueError, match="detector") as error:
        detector_section(detector, ())
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_outputs_that_nobody_can_read() -> None:
    with pytest.raises(ValueError, match=r"nobody knows how to read the outputs .* of x\.onnx"):
        _layout([[1], [2]], "x.onnx")
