"""Pictures as the graph takes them: sizes, padding and boxes are those of the model's own way."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import functional
from torchvision.transforms.v2.functional import _geometry

from opendet.boxes import to_record
from opendet.data.transforms import Example, fitted_size, resize
from opendet.onnx_export.card import OnnxCard
from opendet.onnx_export.images import fitted_hw, in_pixels, in_units, padded_hw, prepare
from opendet.onnx_export.resampling import resample

CARD = OnnxCard(
    model="0" * 64,
    shortest=80,
    longest=133,
    unit=32,
    prompt_width=4,
    beams=1,
    aligner=False,
    files={},
)
sides = st.tuples(st.integers(1, 90), st.integers(1, 90))
SIZES_WH = [(640, 427), (427, 640), (33, 33), (1, 900), (900, 1), (1, 1), (80, 80), (500, 20)]


def picture(size_wh: tuple[int, int]) -> Image.Image:
    width, height = size_wh
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("size_wh", SIZES_WH)
def test_a_picture_is_as_large_as_the_model_has_it(size_wh: tuple[int, int]) -> None:
    own = fitted_size(size_wh[::-1], shortest=CARD.shortest, longest=CARD.longest)
    assert fitted_hw(picture(size_wh), CARD) == own


@pytest.mark.parametrize("size_wh", SIZES_WH)
def test_its_pixels_are_the_models(size_wh: tuple[int, int]) -> None:
    image = picture(size_wh)
    pixels = torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())
    example = Example("", pixels, torch.zeros(0, 4), (), size_wh[::-1])
    own = resize(example, shortest=CARD.shortest, longest=CARD.longest).image.numpy()
    height, width = own.shape[1:]
    prepared = prepare([image], CARD)
    assert prepared.sizes_hw.tolist() == [[height, width]]
    levels = np.rint(prepared.images[0, :, :height, :width] * 255).astype(np.uint8)
    _require_native()
    assert np.array_equal(levels, own)
    assert not prepared.images[0, :, height:].any()
    assert not prepared.images[0, :, :, width:].any()


@given(before=sides, after=sides.filter(lambda size: size != (1, 1)))  # where torch asserts
@settings(max_examples=60)
def test_any_size_from_any_size(before: tuple[int, int], after: tuple[int, int]) -> None:
    _require_native()
    pixels = np.random.default_rng(0).integers(0, 256, (*before, 3), dtype=np.uint8)
    whole = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
    own = functional.resize(whole, list(after), antialias=True).numpy()
    assert np.array_equal(resample(pixels, after).transpose(2, 0, 1), own)


def _require_native() -> None:
    if not _geometry._do_native_uint8_resize_on_cpu(functional.InterpolationMode.BILINEAR):
        pytest.skip("torchvision resizes by floating-point numbers on this processor")


def test_sides_are_padded_to_whole_units() -> None:
    assert padded_hw((80, 96), CARD) == (96, 96)
    assert padded_hw((1, 33), CARD) == (32, 64)
    assert prepare([picture((133, 80))], CARD).images.shape == (1, 3, 96, 160)


def test_units_are_a_view_of_the_same_pixels() -> None:
    images = np.random.default_rng(0).random((2, 3, 64, 96), dtype=np.float32)
    cut = in_units(images, 32)
    assert cut.shape == (2, 3, 2, 32, 3, 32)
    assert np.shares_memory(cut, images)
    assert np.array_equal(cut.reshape(images.shape), images)


def test_boxes_are_in_pixels_and_inside() -> None:
    boxes = np.random.default_rng(0).random((20, 4), dtype=np.float32)
    own = to_record(torch.from_numpy(boxes), width=64, height=48)
    assert np.allclose(in_pixels(boxes, (48, 64)), own.numpy(), atol=1e-5)
    [whole] = in_pixels(np.array([[0.5, 0.5, 1.5, 1.5]], np.float32), (48, 64)).tolist()
    assert whole == [0, 0, 64, 48]
