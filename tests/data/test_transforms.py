"""Boxes go where their pixels go: a rectangle is painted, moved, and found again."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from opendet.boxes import area
from opendet.data.config import LoaderConfig
from opendet.data.transforms import Example, crop, fitted_size, flip, random_crop, resize

HEIGHT, WIDTH = 60, 80


def painted(box_xyxy: tuple[int, int, int, int], *, height: int = HEIGHT) -> Example:
    image = torch.zeros(3, height, WIDTH, dtype=torch.uint8)
    x0, y0, x1, y1 = box_xyxy
    image[:, y0:y1, x0:x1] = 255
    return Example("k", image, torch.tensor([box_xyxy]).float(), (("thing",),), (height, WIDTH))


def found(image: torch.Tensor) -> list[float]:
    """xyxy of what is more than half bright."""
    rows = (image[0] > 127).any(1).nonzero().flatten().tolist()
    columns = (image[0] > 127).any(0).nonzero().flatten().tolist()
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@st.composite
def inner_boxes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    x0, y0 = draw(st.integers(0, WIDTH - 12)), draw(st.integers(0, HEIGHT - 12))
    return x0, y0, draw(st.integers(x0 + 10, WIDTH)), draw(st.integers(y0 + 10, HEIGHT))


@given(inner_boxes(), st.integers(20, 200))
def test_resize(box: tuple[int, int, int, int], shortest: int) -> None:
    moved = resize(painted(box), shortest=shortest, longest=10_000)
    assert min(moved.size_hw) == shortest
    assert moved.boxes_xyxy[0].tolist() == pytest.approx(found(moved.image), abs=1.01)
    assert moved.original_hw == (HEIGHT, WIDTH)


@given(inner_boxes())
def test_flip(box: tuple[int, int, int, int]) -> None:
    moved = flip(painted(box))
    assert moved.boxes_xyxy[0].tolist() == found(moved.image)
    assert torch.equal(flip(moved).image, painted(box).image)


@given(inner_boxes(), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_crop_keeps_boxes_honest(
    box: tuple[int, int, int, int], seed: int, keep_share: float
) -> None:
    whole = painted(box)
    config = LoaderConfig(crop_sides=(20, 60), crop_keep=keep_share)
    cut = random_crop(whole, np.random.default_rng(seed), config)
    assert all(20 <= side <= 60 for side in cut.size_hw)
    left = int((cut.image[0] > 127).sum())
    share = left / float(area(whole.boxes_xyxy))
    assert len(cut.boxes_xyxy) == len(cut.names) == int(share > 0 and share >= keep_share)
    for kept_xyxy in cut.boxes_xyxy:
        assert kept_xyxy.tolist() == found(cut.image)


def test_crop_drops_the_right_names() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [40, 20, 60, 40], [70, 50, 80, 60]])
    example = Example("k", painted((0, 0, 9, 9)).image, boxes, (("a",), ("b",), ("c",)), (60, 80))
    cut = crop(example, top=15, left=35, height=30, width=30, keep_share=0.5)
    assert cut.names == (("b",),)
    assert cut.boxes_xyxy.tolist() == [[5, 5, 25, 25]]


def test_no_boxes_are_legal() -> None:
    empty = Example("k", painted((0, 0, 9, 9)).image, torch.zeros(0, 4), (), (HEIGHT, WIDTH))
    rng = np.random.default_rng(0)
    for moved in (
        resize(empty, shortest=30, longest=100),
        flip(empty),
        random_crop(empty, rng, LoaderConfig(crop_sides=(10, 20))),
    ):
        assert moved.boxes_xyxy.shape == (0, 4)
        assert moved.names == ()


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_fitted_size(height: int, width: int) -> None:
    fitted = fitted_size((height, width), shortest=800, longest=1333)
    assert max(fitted) <= 1333
    assert min(fitted) == 800 or max(fitted) == 1333
    assert min(fitted) >= 1


def test_a_crop_larger_than_the_image_is_the_image() -> None:
    whole = painted((5, 5, 30, 30))
    cut = random_crop(whole, np.random.default_rng(0), LoaderConfig(crop_sides=(384, 600)))
    assert torch.equal(cut.image, whole.image)
    assert torch.equal(cut.boxes_xyxy, whole.boxes_xyxy)
