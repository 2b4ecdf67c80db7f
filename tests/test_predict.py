"""Detecting: thresholds before names, pixels of the given image, an image alone as in a batch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from opendet.draw import colour_of, draw_detections
from opendet.predict import Detections, Detector
from opendet.predict_config import PredictConfig
from opendet.train.export import Resize, export_model
from opendet.train.weights import own_tensors
from tests.model.worlds import build_detector

SIZES = [(64, 48), (40, 90), (33, 33)]
ALL = PredictConfig(score_threshold=0.0, device="cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predict") / "model"
    detector = build_detector()
    resize = Resize(shortest=32, longest=64, multiple=32)
    export_model(folder, detector, own_tensors(detector), resize=resize, training={})
    return folder


def _images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in SIZES]


def test_each_image_has_boxes_in_its_own_pixels_and_names(model: Path) -> None:
    found = Detector.load(model, ALL).detect(_images())
    assert len(found) == len(SIZES)
    for one, (width, height) in zip(found, SIZES, strict=True):
        assert len(one) > 0
        assert one.boxes_xyxy.shape == (len(one), 4)
        assert (one.boxes_xyxy >= 0).all()
        assert (one.boxes_xyxy[:, 2:] <= torch.tensor([width, height])).all()
        assert (one.scores.diff() <= 0).all()
        assert [len(beams) for beams in one.names] == [2] * len(one)
        assert torch.allclose(one.prompts.norm(dim=-1), torch.ones(len(one)))


def test_a_larger_picture_gives_larger_boxes(model: Path) -> None:
    """The picture doubled has its boxes doubled: they are pixels of what was given."""
    small = Image.new("RGB", (64, 32), "navy")
    small.paste("white", (10, 8, 30, 24))
    double = small.resize((128, 64), Image.Resampling.NEAREST)
    one, two = Detector.load(model, ALL).detect([small, double])
    assert two.boxes_xyxy.max() > 1.5 * one.boxes_xyxy.max()


def test_alone_as_in_a_batch(model: Path) -> None:
    detector = Detector.load(model, ALL)
    together = detector.detect(_images())
    for image, one in zip(_images(), together, strict=True):
        (alone,) = detector.detect([image])
        assert torch.allclose(alone.scores, one.scores, atol=1e-5)
        assert torch.allclose(alone.boxes_xyxy, one.boxes_xyxy, atol=1e-2)
        assert alone.names == one.names


def test_only_what_is_kept_is_named(model: Path) -> None:
    some = Detector.load(model, ALL.model_copy(update={"max_objects": 2, "beams": 1}))
    named: list[int] = []
    namer = some._network.namer
    ask = namer.name
    namer.name = lambda prompts, beams=None: named.append(len(prompts)) or ask(prompts, beams)  # type: ignore[assignment,func-returns-value]
    found = some.detect(_images())
    assert [len(one) for one in found] == [2, 2, 2]
    assert sum(named) == 6
    everything = Detector.load(model, ALL).detect(_images())
    assert torch.equal(found[0].scores, everything[0].scores[:2])


def test_nothing_found_and_nothing_asked(model: Path) -> None:
    detector = Detector.load(model, ALL.model_copy(update={"score_threshold": 1.0}))
    found = detector.detect(_images())
    assert [len(one) for one in found] == [0, 0, 0]
    assert found[0].boxes_xyxy.shape == (0, 4)
    assert found[0].names == []
    assert detector.detect([]) == []


def test_pictures_of_any_mode(model: Path) -> None:
    detector = Detector.load(model, ALL)
    grey = Image.new("L", (40, 30), 90)
    rgb, same = detector.detect([grey.convert("RGB"), grey])
    assert torch.equal(rgb.boxes_xyxy, same.boxes_xyxy)


def test_naming_in_pieces_changes_no_name(model: Path) -> None:
    whole = Detector.load(model, ALL).detect(_images())
    pieces = Detector.load(model, ALL.model_copy(update={"naming_batch": 3})).detect(_images())
    assert [one.names for one in whole] == [one.names for one in pieces]


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_broken_folder_says_so_in_one_line(model: Path, tmp_path: Path, file: str) -> None:
    with pytest.raises(ValueError, match="holds no model") as error:
        Detector.load(tmp_path)
    assert "\n" not in str(error.value)
    for path in model.iterdir():
        if path.name != "namer":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / file).write_bytes((model / file).read_bytes()[:-9])
    with pytest.raises(ValueError, match="damaged") as error:
        Detector.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_drawing_shows_the_box_and_leaves_the_picture() -> None:
    image = Image.new("RGB", (600, 360), "white")
    boxes = torch.tensor([[150.0, 120.0, 360.0, 300.0], [3.0, 3.0, 594.0, 354.0]])
    found = Detections(boxes, torch.tensor([0.9, 0.1]), [["red star"], ["disc"]], torch.zeros(2, 8))
    drawn = draw_detections(image, found, min_score=0.5)
    assert drawn.getpixel((150, 297)) == colour_of("red star")
    assert drawn.getpixel((3, 180)) == (255, 255, 255), "below the score: not drawn"
    assert image.getextrema() == ((255, 255),) * 3
    assert draw_detections(image, found).getpixel((3, 180)) == colour_of("disc")


@pytest.mark.parametrize("size", [(8, 8), (3000, 10)])
def test_labels_fit_in_no_space(size: tuple[int, int]) -> None:
    boxes = torch.tensor([[0.0, 0.0, float(size[0]), float(size[1])]])
    found = Detections(boxes, torch.tensor([0.9]), [["a very long name " * 9]], torch.zeros(1, 8))
    drawn = draw_detections(Image.new("RGB", size), found)
    assert drawn.size == ((512, 512) if size == (8, 8) else size), "small ones are enlarged"
