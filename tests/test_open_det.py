"""A detector in three lines: what is saved says the same, and what is found goes to supervision."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from opendet import OpenDet
from opendet.detections import Detections
from opendet.model.vocabulary import Vocabulary
from opendet.train.export import Resize, export_model
from opendet.train.weights import own_tensors
from tests.model.naming_worlds import export_named
from tests.model.worlds import build_detector

EVERYTHING = {"score_threshold": 0.0, "device": "cpu"}


def picture(width: int = 64, height: int = 48, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_named(tmp_path_factory.mktemp("open_det") / "model", clip="abc a {name}")


def words() -> Vocabulary:
    rows = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    names = ("cat", "dog", "owl")
    return Vocabulary(names, torch.nn.functional.normalize(rows, dim=1), "abc", "a {name}")


def same(first: Detections, second: Detections) -> None:
    assert np.array_equal(first.boxes_xyxy, second.boxes_xyxy)
    assert np.array_equal(first.scores, second.scores)
    assert first.names == second.names
    assert len(first), "nothing was compared"


@pytest.mark.parametrize(
    ("parts", "settings"),
    [
        ({}, {}),
        ({}, {"namer": "prototypes"}),
        ({}, {"namer": "cascade"}),
        ({}, {"known": words()}),
        ({"t5": False}, {}),
        ({"prototypes": False, "aligner": False}, {}),
    ],
    ids=["t5", "prototypes", "cascade", "list", "no-t5", "plain"],
)
def test_saved_and_loaded_again_it_says_the_same_to_the_bit(
    tmp_path: Path, parts: dict[str, bool], settings: dict[str, Any]
) -> None:
    first = OpenDet.from_pretrained(
        export_named(tmp_path / "model", clip="abc", **parts), **EVERYTHING, **settings
    )
    first.save_pretrained(tmp_path / "saved")
    second = OpenDet.from_pretrained(tmp_path / "saved", **EVERYTHING, **settings)
    same(first(picture()), second(picture()))
    second.save_pretrained(tmp_path / "again")
    assert contents(tmp_path / "saved") == contents(tmp_path / "again")


def test_a_lora_head_is_saved_as_it_is(tmp_path: Path) -> None:
    detector = build_detector()
    head: Any = detector.namer.t5.lm_head
    torch.nn.init.normal_(head.lora_b)
    resize = Resize(shortest=32, longest=64, multiple=32)
    export_model(tmp_path / "model", detector, own_tensors(detector), resize=resize, training={})
    first = OpenDet.from_pretrained(tmp_path / "model", **EVERYTHING)
    first.save_pretrained(tmp_path / "saved")
    same(first(picture()), OpenDet.from_pretrained(tmp_path / "saved", **EVERYTHING)(picture()))


def test_a_model_that_was_asked_without_its_t5_keeps_it(model: Path, tmp_path: Path) -> None:
    OpenDet.from_pretrained(model, namer="prototypes", **EVERYTHING).save_pretrained(tmp_path / "m")
    same(
        OpenDet.from_pretrained(model, **EVERYTHING)(picture()),
        OpenDet.from_pretrained(tmp_path / "m", **EVERYTHING)(picture()),
    )


def test_only_what_belongs_to_a_model_is_saved(tmp_path: Path) -> None:
    folder = export_named(tmp_path / "model")
    (folder / "notes.txt").write_text("a secret")
    (folder / "namer" / "token").write_text("another")
    OpenDet.from_pretrained(folder, **EVERYTHING).save_pretrained(tmp_path / "saved")
    assert set(contents(tmp_path / "saved")) == {
        "README.md", "config.json", "model.safetensors", "prototypes.json", "namer/namer.json",
        "namer/config.json", "namer/tokenizer.json", "namer/tokenizer_config.json",
    }  # fmt: skip
    assert (tmp_path / "saved" / "README.md").read_text().startswith("---\n")


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_it_saves_over_nothing(model: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        OpenDet.from_pretrained(model, **EVERYTHING).save_pretrained(tmp_path / "there")
    assert contents(tmp_path / "there") == {"mine.txt": b"mine"}


def test_a_file_an_image_and_its_pixels_are_one_picture(model: Path, tmp_path: Path) -> None:
    detector = OpenDet.from_pretrained(model, **EVERYTHING)
    image = picture()
    image.save(tmp_path / "photo.png")
    found = detector(image)
    same(found, detector(str(tmp_path / "photo.png")))
    same(found, detector(tmp_path / "photo.png"))
    same(found, detector(np.asarray(image)))
    same(found, detector([np.asarray(image)])[0])
    assert detector([]) == []


def test_sixteen_bits_are_scaled_from_a_file_and_from_an_image(model: Path, tmp_path: Path) -> None:
    detector = OpenDet.from_pretrained(model, **EVERYTHING)
    deep = Image.fromarray(np.asarray(picture().convert("L")).astype(np.uint16) * 257)
    deep.save(tmp_path / "deep.png")
    same(detector(deep), detector(tmp_path / "deep.png"))
    same(detector(deep), detector(picture().convert("L")))


def test_a_turned_photograph_is_seen_upright(model: Path, tmp_path: Path) -> None:
    detector = OpenDet.from_pretrained(model, **EVERYTHING)
    exif = Image.Exif()
    exif[274] = 6
    picture().save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as turned:
        found = detector(turned)
    assert found.size_hw == (64, 48)
    same(found, detector(tmp_path / "turned.png"))


def test_more_pictures_than_go_at_once(model: Path) -> None:
    detector = OpenDet.from_pretrained(model, batch_size=2, **EVERYTHING)
    pictures = [picture(seed=seed) for seed in range(5)]
    for image, found in zip(pictures, detector(pictures), strict=True):
        alone = detector(image)
        assert np.allclose(alone.boxes_xyxy, found.boxes_xyxy, atol=1e-3)
        assert alone.names == found.names


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("none.jpg", "there is no such file"),
        (np.zeros((4, 4, 3)), "uint8 pixels"),
        (np.zeros((4, 4, 4), np.uint8), "uint8 pixels"),
        (np.zeros((0, 4, 3), np.uint8), "uint8 pixels"),
    ],
)
def test_what_is_no_picture(model: Path, given: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        OpenDet.from_pretrained(model, **EVERYTHING)(given)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"score_treshold": 0.5},
            r"score_treshold: no such key \(did you mean score_threshold\?\)",
        ),
        ({"score_threshold": 2}, "score_threshold: .* less than or equal to 1"),
        ({"namer": "t5", "names": ("cat",)}, "namer t5 writes what it likes"),
        ({"revision": "main"}, "is a folder, which has no revisions"),
    ],
)
def test_settings_that_are_none(model: Path, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        OpenDet.from_pretrained(model, **settings)
    assert "\n" not in str(caught.value)


def test_what_is_unsure_is_not_shown(model: Path) -> None:
    """Where nobody asks, as `opendet detect`: a random network is sure of nothing."""
    assert len(OpenDet.from_pretrained(model, device="cpu")(picture())) == 0


# --- supervision


FOUND = Detections(
    np.array([[1, 2, 30, 40], [5, 5, 9, 9]], np.float32),
    np.array([0.9, 0.5], np.float32),
    [["cat", "pet"], ["dog"]],
    None,
)


def test_supervision_gets_boxes_scores_and_names() -> None:
    told = FOUND.to_supervision()
    assert told.xyxy.tolist() == [[1, 2, 30, 40], [5, 5, 9, 9]]
    assert told.confidence is not None
    assert told.confidence.tolist() == pytest.approx([0.9, 0.5])
    assert told.data["class_name"].tolist() == ["cat", "dog"]
    assert told.mask is None
    assert told[told.confidence > 0.6].data["class_name"].tolist() == ["cat"]


def test_a_name_has_one_id_in_every_picture() -> None:
    first = FOUND.to_supervision().class_id
    swapped = replace(FOUND, names=[["dog"], ["cat"]]).to_supervision().class_id
    assert first is not None
    assert swapped is not None
    assert first.tolist() == swapped.tolist()[::-1]
    assert first[0] != first[1]
    assert (first >= 0).all()


def test_ids_are_places_in_a_list_where_there_is_one() -> None:
    ids = FOUND.to_supervision(classes=["dog", "owl", "cat"]).class_id
    assert ids is not None
    assert ids.tolist() == [2, 0]
    with pytest.raises(ValueError, match="'dog' is not among the 1 classes"):
        FOUND.to_supervision(classes=["cat"])


def test_supervision_gets_masks() -> None:
    from faster_coco_eval.core.mask import encode

    drawn = np.zeros((48, 64), np.uint8, order="F")
    drawn[2:40, 1:30] = 1
    code = encode(drawn)["counts"]
    code = code.decode() if isinstance(code, bytes) else code
    masked = replace(FOUND, masks=[code, None])
    with pytest.raises(ValueError, match="size_hw"):
        masked.to_supervision()
    told = replace(masked, size_hw=(48, 64)).to_supervision()
    assert told.mask is not None
    assert np.array_equal(told.mask[0], drawn.astype(bool))
    assert not told.mask[1].any()


def test_supervision_gets_nothing_where_there_is_nothing() -> None:
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), [], None)
    told = nothing.to_supervision()
    assert len(told) == 0
    assert told.xyxy.shape == (0, 4)


def test_torch_detections_go_there_too(model: Path) -> None:
    found = OpenDet.from_pretrained(model, **EVERYTHING)(picture())
    told = found.to_supervision()
    assert told.xyxy.dtype == np.float32
    assert told.data["class_name"].tolist() == [own[0] for own in found.names]


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, opendet; assert 'torch' not in sys.modules; opendet.OpenDet; "
        "assert 'torch' in sys.modules; print('OpenDet' in dir(opendet) or opendet.__all__)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    with pytest.raises(ImportError):
        from opendet import Nothing  # noqa: F401
