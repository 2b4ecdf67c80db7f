"""The pictures of the pages: upright, made small once, as JPEG files of their own."""

import io
from dataclasses import dataclass

from PIL import Image, ImageOps

from opendet.sources.images import MOST_PIXELS, BadImageError, decode_upright, format_of

SMALL, LARGE = 320, 1024
"""Pixels of the longer side: in the gallery, and of a sample that is looked at alone."""
_SMALL_QUALITY, _LARGE_QUALITY = 80, 86


@dataclass(frozen=True, slots=True)
class Cut:
    """JPEG files of one image."""

    small: bytes
    large: bytes = b""
    """Empty where none was asked for."""


def cut(content: bytes, *, large: bool) -> Cut:
    """Raises BadImageError for what is no whole image."""
    if not large:
        return Cut(_jpeg(scaled(content, SMALL), _SMALL_QUALITY))
    picture = scaled(content, LARGE)
    whole = _jpeg(picture, _LARGE_QUALITY)
    picture.thumbnail((SMALL, SMALL), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return Cut(_jpeg(picture, _SMALL_QUALITY), whole)


def full_size(content: bytes) -> bytes:
    """A JPEG's own bytes, which browsers turn upright by themselves; a JPEG file of any other
    image, so that its alpha is left out as annotators and training do. Raises BadImageError."""
    if format_of(content) == "jpg":
        return content
    return _jpeg(decode_upright(content), _LARGE_QUALITY)


def scaled(content: bytes, longest: int) -> Image.Image:
    """The upright image in RGB, its longer side at most so long. Raises BadImageError.

    A JPEG is decoded at a half, a quarter or an eighth of its size where that is large enough.
    """
    decode = _drafted if format_of(content) == "jpg" else _whole
    image = decode(content, longest)
    image.thumbnail((longest, longest), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return image


def _whole(content: bytes, _: int) -> Image.Image:
    return decode_upright(content)


def _drafted(content: bytes, longest: int) -> Image.Image:
    """Pillow's parsers fail in a dozen ways, all of them the file's."""
    try:
        image: Image.Image = Image.open(io.BytesIO(content), formats=["JPEG"])
        if image.width * image.height > MOST_PIXELS:
            raise BadImageError("too many pixels", f"{image.width}x{image.height}")
        image.draft("RGB", (longest, longest))
        return ImageOps.exif_transpose(image).convert("RGB")
    except (MemoryError, BadImageError):
        raise
    except Exception as error:
        raise BadImageError("broken image", f"{type(error).__name__}: {error}"[:200]) from error


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.info.clear()  # no EXIF and no colour profile of the source's goes along
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()
