"""Boxes follow the picture when it is turned, and end inside it or are refused with a reason."""

import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from opendet.sources.geometry import fit_box, upright_box
from opendet.sources.images import decode_upright, inspect_image


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_box_turns_with_its_pixels(orientation: int) -> None:
    width, height, box = 40, 24, (3, 5, 17, 9)
    stored = Image.new("RGB", (width, height))
    stored.paste((255, 255, 255), box)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    stored.save(file, "PNG", exif=exif)
    upright = decode_upright(file.getvalue())
    assert upright.size == (height, width)
    facts = inspect_image(file.getvalue())
    assert (facts.width, facts.height, facts.orientation) == (height, width, orientation)
    assert facts.stored_size == (width, height)
    turned = upright_box(
        tuple(map(float, box)), orientation=orientation, width=width, height=height
    )
    assert turned == upright.getbbox()


@pytest.mark.parametrize(
    ("box", "inside", "problem"),
    [
        ((1, 2, 3.5, 4), (1, 2, 3.5, 4), ""),
        ((0, 0, 20, 10), (0, 0, 20, 10), ""),
        ((-1, -1, 5, 5), (0, 0, 5, 5), "clipped"),
        ((-9, -9, 99, 99), (0, 0, 20, 10), "clipped"),
        ((math.nan, 2, 3, 4), None, "not finite"),
        ((1, 2, math.inf, 4), None, "not finite"),
        ((3, 2, 1, 4), None, "inverted"),
        ((20, 0, 25, 5), None, "outside"),
        ((-5, 0, 0, 5), None, "outside"),
        ((1, 10, 3, 12), None, "outside"),
        ((1, 2, 2, 9), None, "degenerate"),
        ((5, 5, 5, 5), None, "degenerate"),
        ((-5, 2, 0.5, 9), None, "degenerate"),
    ],
)
def test_what_becomes_of_a_box(box: tuple, inside: tuple | None, problem: str) -> None:
    assert fit_box(box, width=20, height=10) == (inside, problem)


ANY = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-30, 50)


@given(st.tuples(ANY, ANY, ANY, ANY))
def test_whatever_comes_out_lies_inside_and_stays(box: tuple[float, float, float, float]) -> None:
    inside, problem = fit_box(box, width=20, height=10)
    if inside is None:
        assert problem
        return
    assert 0 <= inside[0] < inside[2] <= 20
    assert 0 <= inside[1] < inside[3] <= 10
    assert fit_box(inside, width=20, height=10) == (inside, "")
