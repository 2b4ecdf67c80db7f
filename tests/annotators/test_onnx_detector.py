"""ONNX detectors: tiny files by hand, each layout, what is wrong with others, and a real one."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from opendet.annotators.detection import Found
from opendet.annotators.onnx_detector import Onnx, OnnxConfig
from opendet.evaluation.ap import Predictions, Truth, average_precision
from tests.onnx_world import UINT8, write_brightness, write_constant

NAMES = ("cat", "dog")
GREY = Image.new("RGB", (64, 32), (90, 90, 90))
F32 = np.float32


def yolov5(*rows: tuple[float, ...]) -> np.ndarray[Any, Any]:
    return np.array([rows], F32)


def one_dog() -> np.ndarray[Any, Any]:
    """Layout yolov8, 32 x 32: a dog, the same dog again, and a cat that is not sure."""
    rows = [(16, 16, 8, 4, 0.1, 0.8), (16, 16, 8, 4.2, 0.1, 0.7), (4, 12, 8, 8, 0.3, 0.2)]
    return np.array([rows], F32).transpose(0, 2, 1).copy()


def tiny(path: Path, output: np.ndarray[Any, Any] | None = None, **told: Any) -> OnnxConfig:
    output = one_dog() if output is None else output
    file = write_constant(path / "tiny.onnx", {"output": output})
    return OnnxConfig.model_validate({"model": str(file), "class_names": NAMES, **told})


def find(config: OnnxConfig, *images: Image.Image) -> list[list[Found]]:
    return Onnx(config).find(images, [()] * len(images))


def error_of(config: OnnxConfig) -> str:
    with pytest.raises(ValueError, match=r"regions\.detectors") as error:
        find(config, GREY)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_yolov8_in_pixels_of_the_image(tmp_path: Path) -> None:
    """64 x 32 fits into 32 x 32 at half its size, 8 pixels from the top."""
    (found,) = find(tiny(tmp_path), GREY)
    assert [one.name for one in found] == ["dog", "cat"], "the dog's repetition is gone"
    assert found[0].box_xyxy == pytest.approx((24, 12, 40, 20))
    assert found[0].score == pytest.approx(0.8)
    assert found[1].box_xyxy == pytest.approx((0, 0, 16, 16))


def test_what_lies_beside_the_image_is_left_out(tmp_path: Path) -> None:
    rows = [(16, 4, 8, 4, 0.1, 0.8), (4, 8, 16, 8, 0.3, 0.2)]
    (found,) = find(tiny(tmp_path, np.array([rows], F32).transpose(0, 2, 1).copy()), GREY)
    assert [(one.name, one.box_xyxy) for one in found] == [("cat", (0, 0, 24, 8))]


def test_stretched_where_it_is_not_letterboxed(tmp_path: Path) -> None:
    (found,) = find(tiny(tmp_path, letterbox=False), GREY)
    assert found[0].box_xyxy == pytest.approx((24, 14, 40, 18))
    assert found[1].box_xyxy == pytest.approx((0, 8, 16, 16))


def test_yolov5_multiplies_objectness_and_class(tmp_path: Path) -> None:
    rows = yolov5((16, 16, 8, 4, 0.5, 0.1, 0.8), (8, 16, 4, 4, 0.1, 0.3, 0.2))
    (found,) = find(tiny(tmp_path, rows, layout="yolov5"), GREY)
    assert [(one.name, round(one.score, 5)) for one in found] == [("dog", 0.4)], "floor of .05"
    (found,) = find(tiny(tmp_path, rows, layout="yolov5", floor=0.01, most=1), GREY)
    assert len(found) == 1
    (found,) = find(tiny(tmp_path, rows, layout="yolov5", floor=0.01), GREY)
    assert [one.name for one in found] == ["dog", "cat"]


def test_fastestdet_by_its_published_maths(tmp_path: Path) -> None:
    """Cell (row 1, column 2) of a 4 x 4 grid: tanh 0 puts the centre at the cell's corner."""
    grid = np.zeros((1, 7, 4, 4), F32)
    grid[0, :, 1, 2] = (0.5, 0.0, np.arctanh(0.5), 0.0, -np.log(3), 0.1, 0.9)
    (found,) = find(tiny(tmp_path, grid, layout="fastestdet"), Image.new("RGB", (40, 80)))
    assert [one.name for one in found] == ["dog"]
    assert found[0].score == pytest.approx(0.5**0.6 * 0.9**0.4)
    cx, cy, w, h = 40 * 2 / 4, 80 * 1.5 / 4, 40 / 2, 80 / 4
    assert found[0].box_xyxy == pytest.approx((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))


@pytest.mark.parametrize("form", ["named", "shaped", "one"])
def test_suppressed_in_the_file_itself(tmp_path: Path, form: str) -> None:
    """Torchvision's form, a batch's form in another order, and six columns; padding is left out."""
    boxes = np.array([[4, 8, 12, 16], [4, 8, 12, 16], [0, 0, 0, 0]], F32)
    scores, labels = np.array([0.6, 0.9, 0.0], F32), np.array([1, 2, 0], np.int64)
    outputs = {
        "named": {"labels": labels, "boxes": boxes, "scores": scores},
        "shaped": {"a": scores[None], "b": labels[None], "c": boxes[None]},
        "one": {
            "rows": np.concatenate((boxes, scores[:, None], labels[:, None]), 1, dtype=F32)[None]
        },
    }[form]
    file = write_constant(tmp_path / "nms.onnx", outputs, sizes=form == "named")
    config = OnnxConfig(model=str(file), layout="nms", class_names=NAMES, first_label=1)
    (found,) = find(config, Image.new("RGB", (32, 64)))
    assert [(one.name, one.box_xyxy) for one in found] == [
        ("dog", (4, 16, 12, 32)),
        ("cat", (4, 16, 12, 32)),
    ]
    assert "label 1" in error_of(config.model_copy(update={"first_label": 2}))


def test_boxes_may_be_shares_of_the_input(tmp_path: Path) -> None:
    rows = yolov5((0.5, 0.5, 0.25, 0.125, 1, 0.1, 0.8))
    config = tiny(tmp_path, rows, layout="yolov5", normalised=True)
    assert find(config, GREY)[0][0].box_xyxy == pytest.approx((24, 12, 40, 20))


def test_colours_scale_and_grey_reach_the_network(tmp_path: Path) -> None:
    """The brightness of each channel comes back as its class's score."""
    file = write_brightness(tmp_path / "brightness.onnx")
    told = {"model": str(file), "class_names": ("first", "second", "third"), "floor": 0.0}
    red = Image.new("RGB", (64, 32), (255, 0, 0))

    def seen(**more: Any) -> tuple[str, float]:
        (found,) = find(OnnxConfig.model_validate({**told, **more}), red)
        return found[0].name, round(found[0].score, 4)

    half_grey = (1 + 114 / 255) / 2
    assert seen() == ("first", round(half_grey, 4)), "half of the input is grey"
    assert seen(letterbox=False) == ("first", 1.0)
    assert seen(letterbox=False, channels="bgr") == ("third", 1.0)
    assert seen(letterbox=False, scale=1 / 510) == ("first", 0.5)
    shifted = {"mean": (0.4, -0.4, 0.0), "std": (2.0, 1.0, 1.0)}
    assert seen(letterbox=False, **shifted) == ("second", 0.4)


def test_any_batch_and_any_side(tmp_path: Path) -> None:
    """A file of free sides: four images at once as one by one, on the side that is asked for."""
    free = ("n", 3, "h", "w")
    file = write_brightness(tmp_path / "free.onnx", image=free, box_cxcywh=(32, 32, 32, 32))
    config = OnnxConfig(model=str(file), class_names=("r", "g", "b"), side=64, batch_size=3)
    images = [Image.new("RGB", (w, 32), (200, w, 9)) for w in (32, 64, 250, 8)]
    together = find(config, *images)
    assert together == [find(config, image)[0] for image in images]
    assert [one[0].name for one in together] == ["r", "r", "g", "r"]
    assert together[1][0].box_xyxy == pytest.approx((16, 0, 48, 32))
    assert find(config) == []


def test_a_file_that_takes_many_images_and_answers_one(tmp_path: Path) -> None:
    file = write_constant(tmp_path / "one.onnx", {"output": one_dog()}, image=("n", 3, 32, 32))
    finder = Onnx(OnnxConfig(model=str(file), class_names=NAMES, batch_size=2))
    assert len(finder.find([GREY], [()])) == 1
    with pytest.raises(ValueError, match="1 answers to 2 images: take batch_size 1"):
        finder.find([GREY, GREY], [(), ()])


def test_a_file_that_takes_bytes(tmp_path: Path) -> None:
    file = write_constant(tmp_path / "bytes.onnx", {"output": one_dog()}, kind=UINT8)
    (found,) = find(OnnxConfig(model=str(file), class_names=NAMES), GREY)
    assert found[0].name == "dog"


def test_names_from_a_file_or_from_the_export(tmp_path: Path) -> None:
    config = tiny(tmp_path, class_names=())
    assert "has no class names" in error_of(config)
    listed = tmp_path / "names.txt"
    listed.write_text("tabby cat\nbig dog\n\n")
    from_file = config.model_copy(update={"class_names_file": listed})
    assert [one.name for one in find(from_file, GREY)[0]] == ["big dog", "tabby cat"]
    both = from_file.model_copy(update={"class_names": NAMES})
    assert "not both" in error_of(both)
    gone = config.model_copy(update={"class_names_file": tmp_path / "gone.txt"})
    assert "gone.txt" in error_of(gone)

    export = tmp_path / "export.onnx"
    write_constant(export, {"output": one_dog()}, metadata={"names": "{0: 'cow', 1: 'hen'}"})
    assert [one.name for one in find(OnnxConfig(model=str(export)), GREY)[0]] == ["hen", "cow"]
    write_constant(export, {"output": one_dog()}, metadata={"names": "{0: cow"})
    assert "set class_names" in error_of(OnnxConfig(model=str(export)))


def test_its_name_and_revision_hold_no_path(tmp_path: Path) -> None:
    config = tiny(tmp_path)
    digest = hashlib.sha256(Path(config.model).read_bytes()).hexdigest()
    finder = Onnx(config)
    assert (finder.name, finder.revision) == ("tiny", digest[:12])
    assert Onnx(config.model_copy(update={"revision": digest[:20]})).revision == digest[:12]
    assert "not the revision" in error_of(config.model_copy(update={"revision": "0123"}))
    (tmp_path / "names.txt").write_text("a\nb")
    listed = {"class_names": (), "class_names_file": tmp_path / "names.txt"}
    told = Onnx(config.model_copy(update=listed)).revision
    assert told.startswith(f"{digest[:12]}+"), "other names are other answers"


def test_what_is_no_such_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "model is empty" in error_of(OnnxConfig())
    assert "there is no file" in error_of(OnnxConfig(model=str(tmp_path / "gone.onnx")))
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no protobuf at all")
    assert "broken.onnx cannot be loaded" in error_of(OnnxConfig(model=str(broken)))
    config = tiny(tmp_path)
    broken.write_bytes(Path(config.model).read_bytes()[:-40])
    assert "cannot be loaded" in error_of(OnnxConfig(model=str(broken)))
    for shape, says in (
        ((1, 32, 32, 3), "export it for (B, 3, H, W)"),
        ((2, 3, 32, 32), "export it for 1"),
        ((3, 32), "must take images"),
    ):
        write_constant(broken, {"output": one_dog()}, image=shape)
        assert says in error_of(OnnxConfig(model=str(broken)))
    assert "sees no GPU" in error_of(config.model_copy(update={"device": "cuda"}))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "pip install onnxruntime" in error_of(config)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"layout": "yolov5"}, "it looks like layout yolov8"),
        ({"layout": "fastestdet"}, "it looks like layout yolov8"),
        ({"layout": "nms"}, "name the outputs boxes, scores and labels"),
        ({"class_names": ("cat",)}, "name 2 classes, or choose another layout"),
        ({"class_names": ("a", "b", "c")}, "name 2 classes"),
    ],
)
def test_a_layout_or_names_that_do_not_fit(tmp_path: Path, told: dict[str, Any], says: str) -> None:
    assert says in error_of(tiny(tmp_path, **told))


@pytest.mark.parametrize(
    ("value", "says"), [(np.nan, "no numbers"), (np.inf, "no numbers"), (3.5, "sigmoid")]
)
def test_numbers_that_are_none(tmp_path: Path, value: float, says: str) -> None:
    output = one_dog()
    output[0, 5, 0] = value
    assert says in error_of(tiny(tmp_path, output))


@pytest.mark.parametrize("column", [0, 4, 5])
def test_suppressed_numbers_that_are_none(tmp_path: Path, column: int) -> None:
    rows = np.array([[[4, 8, 12, 16, 0.9, 1]]], F32)
    rows[..., column] = np.nan
    assert "no numbers" in error_of(tiny(tmp_path, rows, layout="nms"))


def test_a_configuration_imports_nothing_heavy() -> None:
    code = (
        "import sys, opendet.annotators.onnx_detector, opendet.annotators.own_detector\n"
        "print([name for name in ('torch', 'onnxruntime', 'transformers') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout == "[]\n", ran.stderr


def test_fastestdet_on_real_photographs(shared_data: Path) -> None:
    """Its AP50 on coco_tiny's val half, as the shared data's README tells it: about .27."""
    folder = shared_data / "coco_tiny"
    file = shared_data / "fastestdet" / "FastestDet.onnx"
    if not file.is_file() or not folder.is_dir():
        pytest.skip(f"no FastestDet or coco_tiny in {shared_data}")
    known = json.loads((folder / "annotations" / "instances_val2017.json").read_text())
    kinds = sorted(known["categories"], key=lambda one: one["id"])
    names = tuple(one["name"] for one in kinds)
    index = {one["id"]: place for place, one in enumerate(kinds)}
    finder = Onnx(OnnxConfig(model=str(file), layout="fastestdet", class_names=names))
    truths, found = [], []
    for image in known["images"]:
        objects = [one for one in known["annotations"] if one["image_id"] == image["id"]]
        corners = np.array([one["bbox"] for one in objects], np.float64).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        classes = np.array([index[one["category_id"]] for one in objects], np.int64)
        crowd = np.array([bool(one["iscrowd"]) for one in objects], np.bool_)
        truths.append(Truth(str(image["id"]), corners, classes, crowd))
        with Image.open(folder / "val2017" / image["file_name"]) as picture:
            (said,) = finder.find([picture.convert("RGB")], [()])
        found.append(
            Predictions(
                np.array([one.box_xyxy for one in said]).reshape(-1, 4),
                np.array([one.score for one in said]),
                np.array([names.index(one.name) for one in said], np.int64),
            )
        )
    ap50 = average_precision(truths, found, classes=len(names)).ap50()
    assert len(truths) == 50
    assert ap50 >= 0.25, ap50
