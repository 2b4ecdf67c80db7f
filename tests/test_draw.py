"""Masks drawn on a picture: coloured inside, as they were outside, the surest on top."""

import numpy as np
import torch
from PIL import Image

from opendet.annotators.segment import mask_codes
from opendet.detections import Detections
from opendet.draw import MASK_SHARE, colour_of, draw_detections

WIDTH, HEIGHT = 600, 520


def code(x0: int, y0: int, x1: int, y1: int) -> str:
    pixels = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool)
    pixels[:, y0:y1, x0:x1] = True
    return mask_codes(pixels)[0]


def found(masks: list[str | None] | None) -> Detections:
    """Two things in the same place, a star surer than a disc."""
    boxes = torch.tensor([[100.0, 100.0, 500.0, 400.0]]).expand(2, 4)
    names = [["red star"], ["disc"]]
    return Detections(boxes, torch.tensor([0.9, 0.4]), names, torch.zeros(2, 8), masks)


def tinted(name: str, below: tuple[int, ...] = (255, 255, 255)) -> tuple[int, ...]:
    """What a mask of that name makes of a colour."""
    share = round(255 * MASK_SHARE) / 255
    pairs = zip(colour_of(name), below, strict=True)
    return tuple(round(share * own + (1 - share) * under) for own, under in pairs)


def assert_like(colour: object, wanted: tuple[int, ...]) -> None:
    assert isinstance(colour, tuple)
    assert np.abs(np.subtract(colour, wanted)).max() <= 1, (colour, wanted)


def test_inside_is_coloured_and_outside_is_not() -> None:
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    drawn = draw_detections(image, found([code(150, 150, 300, 300), None]))
    assert_like(drawn.getpixel((200, 200)), tinted("red star"))
    assert drawn.getpixel((320, 200)) == (255, 255, 255), "in the box and not in the mask"
    assert drawn.getpixel((100, 390)) == colour_of("red star"), "the box is drawn too"
    assert image.getextrema() == ((255, 255),) * 3, "the picture stays as it was"


def test_the_surest_mask_is_on_top() -> None:
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    drawn = draw_detections(image, found([code(150, 150, 300, 300), code(200, 200, 400, 350)]))
    assert_like(drawn.getpixel((250, 250)), tinted("red star", tinted("disc")))
    assert_like(drawn.getpixel((380, 330)), tinted("disc"))


def test_below_the_score_no_mask_is_drawn() -> None:
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    drawn = draw_detections(image, found([None, code(150, 150, 300, 300)]), min_score=0.5)
    assert drawn.getpixel((200, 200)) == (255, 255, 255)


def test_without_masks_nothing_changes() -> None:
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    boxes, masked = draw_detections(image, found(None)), draw_detections(image, found([None, None]))
    assert boxes.tobytes() == masked.tobytes()


def test_a_small_picture_is_enlarged_with_its_mask() -> None:
    pixels = torch.zeros(1, 26, 30, dtype=torch.bool)
    pixels[:, 5:20, 5:20] = True
    boxes = torch.tensor([[0.0, 0.0, 29.0, 25.0]])
    one = Detections(boxes, torch.ones(1), [["red star"]], torch.zeros(1, 8), mask_codes(pixels))  # type: ignore[arg-type]
    drawn = draw_detections(Image.new("RGB", (30, 26), "white"), one)
    assert drawn.size == (540, 468)
    assert_like(drawn.getpixel((12 * 18, 12 * 18)), tinted("red star"))
    assert drawn.getpixel((26 * 18, 22 * 18)) == (255, 255, 255)
