"""Pictures of the pages: upright, small, and honest about what is no image."""

import io

import numpy as np
import pytest
from PIL import Image

from opendet.pages.pictures import LARGE, SMALL, cut, full_size, scaled
from opendet.sources.images import BadImageError


def encoded(size: tuple[int, int], kind: str, *, mode: str = "RGB", orientation: int = 1) -> bytes:
    """Red on the left, blue on the right, as stored."""
    image = Image.new("RGB", size, "blue")
    image.paste("red", (0, 0, size[0] // 2, size[1]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.convert(mode).save(file, kind, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_small_ones_are_small_and_large_ones_not_enlarged(kind: str) -> None:
    made = cut(encoded((2000, 1000), kind), large=True)
    assert Image.open(io.BytesIO(made.small)).size == (SMALL, SMALL // 2)
    assert Image.open(io.BytesIO(made.large)).size == (LARGE, LARGE // 2)
    tiny = cut(encoded((40, 20), kind), large=True)
    assert Image.open(io.BytesIO(tiny.small)).size == (40, 20)
    assert cut(encoded((40, 20), kind), large=False).large == b""


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_turned_image_stands_upright(kind: str) -> None:
    picture = scaled(encoded((800, 400), kind, orientation=6), 200)  # to be turned clockwise
    assert picture.size == (100, 200)
    colours = np.asarray(picture)
    assert colours[10, 50, 0] > 200 > colours[10, 50, 2]  # what was left is above
    assert colours[190, 50, 2] > 200


def test_modes_that_jpeg_has_not() -> None:
    for mode in ("RGBA", "L", "P", "CMYK"):
        kind = "JPEG" if mode == "CMYK" else "PNG"
        content = encoded((60, 40), kind, mode=mode)
        assert Image.open(io.BytesIO(cut(content, large=True).small)).mode == "RGB"


def test_nothing_of_the_files_own_words_goes_along() -> None:
    made = cut(encoded((500, 400), "JPEG", orientation=3), large=True)
    for content in (made.small, made.large):
        assert not Image.open(io.BytesIO(content)).getexif()


@pytest.mark.parametrize(
    "content", [b"", b"text", encoded((600, 400), "JPEG")[:900], encoded((60, 40), "PNG")[:90]]
)
def test_what_is_no_whole_image_is_refused(content: bytes) -> None:
    with pytest.raises(BadImageError):
        cut(content, large=False)


def test_a_jpeg_is_served_as_it_is() -> None:
    content = encoded((60, 40), "JPEG")
    assert full_size(content) is content
    assert full_size(encoded((60, 40), "PNG")).startswith(b"\xff\xd8")
