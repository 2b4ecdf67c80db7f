import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from opendet.annotators.clip import GREY, Clip, _tokenizer_of, crop_region
from opendet.annotators.tiny_clip import TinyShape, save_weights, start_clip

SHAPE = TinyShape(image_size=32, tower="test_resnet", width=16, text_layers=1, vocabulary=300)
TEXTS = ("red star", "blue ring", "a dog on a sofa")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    save_weights(start_clip(home, TEXTS, SHAPE)[0], home)
    return home


@pytest.fixture(scope="module")
def clip(folder: Path) -> Clip:
    return Clip.load(str(folder))


def pictures(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (20 + 3 * row, 40, 3), dtype=np.uint8))
        for row in range(count)
    ]


def test_crop_is_square_and_centred():
    pixels = Image.new("RGB", (100, 60), "red")
    crop = crop_region(pixels, (20.0, 20.0, 60.0, 30.0), context=0.0)
    assert crop.size == (40, 40)
    assert crop.getpixel((20, 20)) == (255, 0, 0)
    assert crop.getpixel((20, 2)) == GREY


def test_context_grows_the_crop_within_the_image():
    pixels = Image.new("RGB", (100, 60), "red")
    assert crop_region(pixels, (40.0, 20.0, 60.0, 40.0), context=0.5).size == (30, 30)
    assert crop_region(pixels, (0.0, 0.0, 100.0, 60.0), context=0.5).size == (100, 100)


@pytest.mark.parametrize("box", [(0.0, 0.0, 0.2, 0.2), (99.5, 59.5, 100.0, 60.0)])
def test_a_crop_has_a_pixel_however_small_the_box(box: tuple[float, float, float, float]):
    assert crop_region(Image.new("RGB", (100, 60)), box, context=0.0).size == (1, 1)


def test_rows_are_unit_vectors(clip: Clip):
    for rows in (clip.encode_images(pictures(5)), clip.encode_texts(TEXTS)):
        assert rows.shape[1] == clip.width
        assert rows.dtype == np.float32
        assert np.allclose((rows**2).sum(1), 1, atol=1e-5)


def test_rows_do_not_hang_on_their_company(clip: Clip):
    images = pictures(9)
    together = clip.encode_images(images, batch=4)
    alone = np.concatenate([clip.encode_images([image], batch=4) for image in images])
    assert np.array_equal(together, alone)
    assert np.array_equal(clip.encode_texts(TEXTS)[1:], clip.encode_texts(TEXTS[1:]))


def test_nothing_to_encode(clip: Clip):
    assert clip.encode_images([]).shape == (0, clip.width)
    assert clip.encode_texts([]).shape == (0, clip.width)


def test_loading_again_changes_nothing(folder: Path, clip: Clip):
    again = Clip.load(f"local-dir:{folder}")
    assert again.revision == clip.revision
    assert again.name == clip.name == "opendet-tiny"
    assert np.abs(again.encode_images(pictures(3)) - clip.encode_images(pictures(3))).max() == 0


def test_other_weights_are_another_revision(tmp_path: Path, clip: Clip):
    torch.manual_seed(1)
    save_weights(start_clip(tmp_path, TEXTS, SHAPE)[0], tmp_path)
    assert Clip.load(str(tmp_path)).revision != clip.revision


def test_a_file_that_holds_no_weights_gives_one_line():
    with pytest.raises(ValueError, match="does not load") as caught:
        Clip.load("ViT-B-32", pretrained=__file__)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "pretrained", "said"),
    [
        ("no/such/folder", "", "neither a folder nor an open_clip name"),
        ("VIT-B-32", "openai", "ViT-B-32"),
        ("ViT-B-32", "", "has no weights"),
        ("ViT-B-32", "nonsense", "openai"),
        ("local-dir:no/such/folder", "", "open_clip_config.json is missing"),
        ("ViT-B-32", "laion2b_s34b_b79k", "does not load"),
        ("hf-hub:nobody/nothing", "", "does not load"),
    ],
)
def test_a_wrong_model_gives_one_line(model: str, pretrained: str, said: str):
    with pytest.raises(ValueError, match=said) as caught:
        Clip.load(model, pretrained=pretrained)
    assert "\n" not in str(caught.value)


def test_a_folder_without_weights_gives_one_line(tmp_path: Path):
    start_clip(tmp_path, TEXTS, SHAPE)
    with pytest.raises(ValueError, match="does not load") as caught:
        Clip.load(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_importing_costs_no_torch():
    code = "import opendet.annotators.clip, opendet.curate.clip, opendet.curate.embed, sys; "
    check = "sys.exit(any(name in sys.modules for name in ('torch', 'open_clip', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code + check], check=False).returncode == 0


def test_a_tokenizer_of_open_clip_itself_knows_nothing_of_code_and_is_not_told() -> None:
    assert type(_tokenizer_of("ViT-B-32")).__name__ == "SimpleTokenizer"
