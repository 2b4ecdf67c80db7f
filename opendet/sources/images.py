"""Images as bytes: are they whole, how large are they upright, and what do they show.

Only JPEG, PNG and WebP by content pass, still ones. The bytes are never written anew.
"""

import hashlib
import io
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from opendet.sources.listing import RefusedError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_PIXELS = 50_000_000
MOST_PIXELS = 1024**3 // 4 // 3
"""Where Pillow begins to warn of a bomb: no configuration lets a larger image in."""
_ORIENTATION = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ADDRESS = re.compile(r"<_io\.BytesIO object at 0x[0-9a-f]+>")


class BadImageError(RefusedError):
    """An image that cannot be used."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What the bytes of an image say."""

    format: str
    """`jpg`, `png` or `webp`."""
    width: int
    """Pixels, upright."""
    height: int
    """Pixels, upright."""
    orientation: int
    """EXIF's, 1 to 8; 1 is upright as stored."""
    sha256: str
    bytes: int
    phash: str
    """64-bit perceptual hash of the upright image, 16 hexadecimal digits."""

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height as the file has them."""
        turned = self.orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)


def format_of(content: bytes) -> str:
    """`jpg`, `png` or `webp` by the first bytes; empty for anything else."""
    if content.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    return "webp" if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else ""


def inspect_image(content: bytes, *, max_pixels: int = MAX_PIXELS) -> ImageFacts:
    """Decode an image once, to prove it whole. Raises BadImageError, with a countable reason.

    The header's size is judged before any pixel is allocated.
    """
    if not content:
        raise BadImageError("empty file")
    kind = format_of(content)
    if not kind:
        raise BadImageError("format not allowed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = _open(content, kind, max_pixels)
        upright, orientation = _load_upright(image)
    return ImageFacts(
        format=kind,
        width=upright.width,
        height=upright.height,
        orientation=orientation,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        phash=_perceptual_hash(upright),
    )


def decode_upright(content: bytes) -> "Picture":
    """The upright image in RGB, alpha left out, 16 bits brought to 8.

    For images that were inspected before; raises BadImageError for others that do not decode, and
    before any pixel is allocated for what no inspection lets pass.
    """
    kind = format_of(content)
    if not kind:
        raise BadImageError("format not allowed")
    return _load_upright(_open(content, kind, MOST_PIXELS))[0]


def pixels_upright(content: bytes) -> NDArray[np.uint8]:
    """(H, W, 3) RGB: the very pixels of `decode_upright`, and its errors.

    A plain JPEG is decoded by libjpeg-turbo at once and not by Pillow's lines, whose copies take as
    long again; both run the same transform to the last bit.
    """
    kind = format_of(content)
    if not kind:
        raise BadImageError("format not allowed")
    image = _open(content, kind, MOST_PIXELS)
    plain = _plain_jpeg(content, image) if kind == "jpg" else None
    return np.array(_load_upright(image)[0]) if plain is None else plain


def _plain_jpeg(content: bytes, image: "Picture") -> NDArray[np.uint8] | None:
    """The upright pixels of a JPEG of three colours without a fault; of any other None, for Pillow
    is to say what becomes of it."""
    if image.mode != "RGB":
        return None
    try:
        orientation = _orientation_of(image)
        pixels = simplejpeg.decode_jpeg(content, "RGB")
    except MemoryError:
        raise
    except Exception:
        return None
    if pixels.shape[:2] != (image.height, image.width):
        return None
    return np.ascontiguousarray(_turned(pixels, orientation))


def _turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """As `_TRANSPOSE` turns a picture."""
    if orientation in (3, 4, 6, 7):
        pixels = pixels[::-1]
    if orientation in (2, 3, 7, 8):
        pixels = pixels[:, ::-1]
    return pixels.swapaxes(0, 1) if orientation >= 5 else pixels


_PILLOW_NAME = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}


def _open(content: bytes, kind: str, max_pixels: int) -> "Picture":
    """Read the header, no more. Pillow's parsers fail in a dozen ways, all of them the file's."""
    try:
        image = Image.open(io.BytesIO(content), formats=[_PILLOW_NAME[kind]])
        frames = getattr(image, "n_frames", 1)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImageError("too many pixels", _said(error)) from error
    except MemoryError:
        raise
    except Exception as error:
        raise BadImageError("broken header", _said(error)) from error
    if image.width * image.height > max_pixels:
        raise BadImageError("too many pixels", f"{image.width}x{image.height}")
    # Boxes speak of one picture. A JPEG with further ones behind it (MPO) has a first that every
    # decoder shows; which frame of an animation counts is anybody's guess.
    if frames > 1 and kind != "jpg":
        raise BadImageError("animated image", f"{frames} frames")
    return image


def _load_upright(image: "Picture") -> tuple["Picture", int]:
    """Decode, convert to RGB and turn. The orientation is read last: a PNG may end with it."""
    try:
        image.load()
        orientation = _orientation_of(image)
        rgb = to_rgb(image)
        rgb.info.clear()  # what the file said beside its pixels, such as a palette's transparency
    except MemoryError:
        raise
    except Exception as error:
        short = "truncated" in str(error).lower()
        reason = "truncated image" if short else "broken image"
        raise BadImageError(reason, _said(error)) from error
    return rgb.transpose(_TRANSPOSE[orientation]) if orientation > 1 else rgb, orientation


def _orientation_of(image: "Picture") -> int:
    value = image.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) and value in _TRANSPOSE else 1


def to_rgb(image: "Picture") -> "Picture":
    """An image of any mode."""
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow would clip 16 bits at 255 and leave a white image
        return image.point(lambda value: value / 256).convert("L").convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def _said(error: Exception) -> str:
    """What Pillow said, without the address of our buffer, which differs from run to run."""
    return f"{type(error).__name__}: {_ADDRESS.sub('', str(error))}"[:200]


def _perceptual_hash(upright: "Picture") -> str:
    import imagehash

    return str(imagehash.phash(upright))
