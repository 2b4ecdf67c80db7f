"""Detecting without torch: the same boxes, scores and names as the model, in any size and batch."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from opendet.detections import Detections
from opendet.files import canonical_json
from opendet.model.config import DetectorConfig
from opendet.model.vocabulary import Vocabulary, write_vocabulary
from opendet.onnx_export.card import CARD, DETECTOR, read_onnx_card
from opendet.onnx_export.exporting import CLOSE, export_onnx
from opendet.onnx_export.runtime import OnnxDetector
from opendet.predict import Detector
from opendet.predict_config import PredictConfig
from opendet.train.export import Resize, export_model
from opendet.train.weights import own_tensors
from tests.model.naming_worlds import export_named
from tests.model.worlds import TINY_DETECTOR, build_detector

pytestmark = pytest.mark.slow  # half a minute for each graph that is written

SIZES_WH = [(64, 48), (40, 90), (33, 33), (64, 48), (200, 20), (3, 3)]


class Models(NamedTuple):
    folder: Path
    onnx: Path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    place = tmp_path_factory.mktemp("onnx")
    folder = export_named(place / "model", clip="abc a {name}")
    export_onnx(folder, place / "onnx")
    return Models(folder, place / "onnx")


def pictures() -> list[Image.Image]:
    """Smooth ones: of noise, the two ways to make a picture smaller differ most."""
    rng = np.random.default_rng(0)
    small = [Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)) for _ in SIZES_WH]
    return [
        one.resize(size_wh, Image.Resampling.BICUBIC)
        for one, size_wh in zip(small, SIZES_WH, strict=True)
    ]


def asked(**told: Any) -> PredictConfig:
    return PredictConfig.model_validate({"score_threshold": 0.0, "device": "cpu", **told})


def close(ours: Detections, own: Detections, image: Image.Image) -> None:
    assert len(ours) == len(own) > 0
    sides = np.array([image.width, image.height] * 2)
    gaps = np.abs(np.asarray(ours.boxes_xyxy) - np.asarray(own.boxes_xyxy)) / sides
    assert gaps.max() <= CLOSE
    assert np.abs(np.asarray(ours.scores) - np.asarray(own.scores)).max() <= CLOSE
    assert ours.names == own.names
    assert ours.size_hw == own.size_hw == (image.height, image.width)


def words(path: Path, width: int, tower: str = "abc") -> Path:
    rows = torch.randn(4, width, generator=torch.Generator().manual_seed(0))
    vectors = torch.nn.functional.normalize(rows, dim=1)
    write_vocabulary(path, Vocabulary(("cat", "dog", "owl", "bee"), vectors, tower, "a {name}"))
    return path


@pytest.mark.parametrize(
    "told",
    [
        {"beams": 1},
        {"beams": 3},
        {"batch_size": 1, "naming_batch": 3},
        {"namer": "prototypes"},
        {"names": ("disc", "star")},
        {"namer": "cascade", "unsure_below": 0.4},
        {"namer": "prototypes", "score": "object", "max_objects": 2},
    ],
)
def test_it_says_what_the_model_says(models: Models, told: dict[str, Any]) -> None:
    own = Detector.load(models.folder, asked(**told)).detect(pictures())
    ours = OnnxDetector.load(models.onnx, asked(**told)).detect(pictures())
    for one, other, image in zip(ours, own, pictures(), strict=True):
        close(one, other, image)


@pytest.mark.parametrize(("by", "width"), [("prototypes", 4), ("alignment", 32), ("prompts", 32)])
def test_a_list_of_names(models: Models, tmp_path: Path, by: str, width: int) -> None:
    path = words(tmp_path / "words.safetensors", width)
    told = asked(vocabulary=path, vocabulary_by=by, names=("owl", "cat", "bee"))
    own = Detector.load(models.folder, told).detect(pictures())
    ours = OnnxDetector.load(models.onnx, told).detect(pictures())
    for one, other, image in zip(ours, own, pictures(), strict=True):
        close(one, other, image)


def test_photographs(models: Models, shared_data: Path) -> None:
    paths = sorted((shared_data / "coco_tiny").rglob("*.jpg"))[:4]
    if not paths:
        pytest.skip("no photographs in the shared data")
    images = [Image.open(path).convert("RGB") for path in paths]
    own = Detector.load(models.folder, asked(beams=1)).detect(images)
    ours = OnnxDetector.load(models.onnx, asked(beams=1)).detect(images)
    for one, other, image in zip(ours, own, images, strict=True):
        close(one, other, image)


def test_nothing_found_and_nothing_asked(models: Models) -> None:
    detector = OnnxDetector.load(models.onnx, asked(score_threshold=1.0))
    assert [len(one) for one in detector.detect(pictures())] == [0] * len(SIZES_WH)
    assert detector.detect([]) == []
    listed = OnnxDetector.load(models.onnx, asked(score_threshold=1.0, namer="prototypes"))
    assert listed.detect(pictures())[0].names == []


def test_torch_is_not_imported(models: Models, tmp_path: Path) -> None:
    pictures()[0].save(tmp_path / "photo.png")
    code = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from PIL import Image\n"
        "from opendet.onnx_export.runtime import OnnxDetector\n"
        "from opendet.predict_config import PredictConfig\n"
        "asked = PredictConfig(score_threshold=0, device='cpu')\n"
        "[found] = OnnxDetector.load(Path(sys.argv[1]), asked).detect([Image.open(sys.argv[2])])\n"
        "strange = {'torch', 'torchvision', 'transformers', 'ray'} & set(sys.modules)\n"
        "print(json.dumps([sorted(strange), found.names]))\n"
    )
    told = [sys.executable, "-c", code, str(models.onnx), str(tmp_path / "photo.png")]
    ran = subprocess.run(told, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    strange, names = json.loads(ran.stdout)
    assert strange == []
    [own] = Detector.load(models.folder, asked()).detect(pictures()[:1])
    assert names == own.names


def test_the_graphs_tell_nothing_of_this_machine(models: Models) -> None:
    for path in models.onnx.iterdir():
        assert b"/opendet/" not in path.read_bytes(), path.name


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ({"namer": "vocabulary"}, "names: their text vectors are missing"),
        ({"names": ("cat",)}, "the pool has no prototype of 'cat'"),
    ],
)
def test_what_it_cannot_name_by(models: Models, told: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        OnnxDetector.load(models.onnx, asked(**told))


def test_a_list_of_another_tower_or_width(models: Models, tmp_path: Path) -> None:
    other = words(tmp_path / "other.safetensors", 4, tower="xyz")
    with pytest.raises(ValueError, match="the model was trained with abc"):
        OnnxDetector.load(models.onnx, asked(vocabulary=other))
    wide = words(tmp_path / "wide.safetensors", 9)
    with pytest.raises(ValueError, match="9 wide, the model compares 4 by its prototypes"):
        OnnxDetector.load(models.onnx, asked(vocabulary=wide))


def test_a_folder_that_is_not_whole(models: Models, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no ONNX model .*opendet model export onnx"):
        OnnxDetector.load(models.folder)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in models.onnx.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / DETECTOR).write_bytes((copy / DETECTOR).read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"detector.onnx is missing or damaged"):
        OnnxDetector.load(copy)
    told = json.loads((copy / CARD).read_text())
    (copy / CARD).write_text(canonical_json({**told, "version": 9}))
    with pytest.raises(ValueError, match="has version 9"):
        read_onnx_card(copy)


def test_it_writes_over_nothing(models: Models, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        export_onnx(models.folder, tmp_path)
    with pytest.raises(ValueError, match="holds no model"):
        export_onnx(tmp_path, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    "update",
    [
        {"encoder": "hybrid", "prompt": "query"},
        {"glimpse_side": 8, "iou_head": True, "queries": 300, "selection": "topk"},
        {
            "backbone": {"name": "swin_tiny_patch4_window7_224"},
            "encoder_layers": 0,
            "cross_layers": 0,
            "self_layers": 1,
            "prompt": "query",
        },
    ],
    ids=["hybrid", "glimpse", "swin"],
)
def test_detectors_of_other_parts(tmp_path: Path, update: dict[str, Any]) -> None:
    """The second has more queries than some images have tokens; windows of the third divide none of
    the maps."""
    config = DetectorConfig.model_validate({**TINY_DETECTOR.model_dump(), **update})
    detector, resize = build_detector(config), Resize(shortest=64, longest=160, multiple=32)
    export_model(tmp_path / "model", detector, own_tensors(detector), resize=resize, training={})
    export_onnx(tmp_path / "model", tmp_path / "onnx")
    told = asked(beams=1, max_objects=500)
    own = Detector.load(tmp_path / "model", told).detect(pictures())
    ours = OnnxDetector.load(tmp_path / "onnx", told).detect(pictures())
    for one, other, image in zip(ours, own, pictures(), strict=True):
        close(one, other, image)
