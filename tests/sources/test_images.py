"""Images: every odd one counted under a reason, bombs refused unallocated, EXIF honoured."""

import io
import json
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageOps, ImageStat

from opendet.sources.images import (
    MOST_PIXELS,
    BadImageError,
    decode_upright,
    format_of,
    inspect_image,
    pixels_upright,
)

REASONS = {
    "animated image",
    "broken header",
    "broken image",
    "empty file",
    "format not allowed",
    "too many pixels",
    "truncated image",
}


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.effect_noise(size, 80).convert("RGB")


def reason_of(content: bytes, **limits: int) -> str:
    try:
        inspect_image(content, **limits)
    except BadImageError as bad:
        return bad.reason
    return ""


def test_every_odd_image_passes_or_has_a_reason(shared_data: Path) -> None:
    folder = shared_data / "odd_images"
    expected = json.loads((folder / "expected.json").read_text())["files"]
    reasons: Counter[str] = Counter()
    for name, says in expected.items():
        content = (folder / name).read_bytes()
        reason = reason_of(content)
        reasons[reason] += 1
        assert not reason or reason in REASONS
        if not reason:
            # Pillow calls a JPEG with more pictures behind it MPO
            assert says["status"] == "ok", name
            assert says["format"] in ("JPEG", "MPO", "PNG", "WEBP"), name
            size = inspect_image(content).stored_size
            assert list(size) == says["size"], name
            assert decode_upright(content).mode == "RGB"
    assert reasons == {
        "": 65,
        "format not allowed": 145,
        "animated image": 27,
        "broken header": 2,
        "broken image": 1,
        "truncated image": 1,
    }


@pytest.mark.parametrize("kind", ["Portrait", "Landscape"])
@pytest.mark.parametrize("orientation", range(9))
def test_photographs_in_all_orientations_are_the_same_upright(
    shared_data: Path, kind: str, orientation: int
) -> None:
    folder = shared_data / "odd_images" / "exif_orientation"
    content = (folder / f"{kind}_{orientation}.jpg").read_bytes()
    reference = (folder / f"{kind}_1.jpg").read_bytes()
    facts, expected = inspect_image(content), inspect_image(reference)
    assert (facts.width, facts.height) == (expected.width, expected.height)
    assert facts.orientation == max(orientation, 1)  # 0 is no orientation
    assert facts.phash == expected.phash
    small = [decode_upright(one).resize((60, 60)) for one in (content, reference)]
    assert max(ImageStat.Stat(ImageChops.difference(*small)).mean) < 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_cut_image_is_refused_wherever_it_is_cut(kind: str) -> None:
    content = encoded(noise(), kind)
    for share in range(1, 20):
        reason = reason_of(content[: len(content) * share // 20])
        assert reason in REASONS, share
    assert reason_of(content) == ""


@settings(max_examples=150)
@given(st.sampled_from(["JPEG", "PNG", "WEBP"]), st.integers(0, 2000), st.binary(min_size=1))
def test_a_damaged_image_passes_or_has_a_reason(kind: str, place: int, new: bytes) -> None:
    content = encoded(Image.linear_gradient("L").resize((40, 30)).convert("RGB"), kind)
    place %= len(content)
    assert reason_of(content[:place] + new + content[place + len(new) :]) in REASONS | {""}


def test_modes_that_are_not_rgb() -> None:
    for mode in ("L", "LA", "P", "1", "RGBA"):
        assert decode_upright(encoded(noise().convert(mode), "PNG")).mode == "RGB"
    red = Image.new("RGB", (16, 16), (200, 10, 10)).convert("CMYK")
    pixel = decode_upright(encoded(red)).getpixel((8, 8))
    assert isinstance(pixel, tuple)
    assert abs(pixel[0] - 200) < 12
    assert pixel[1] < 30


def test_16_bits_are_scaled_and_not_clipped() -> None:
    ramp = Image.new("I;16", (256, 4))
    ramp.putdata([column * 256 for _ in range(4) for column in range(256)])
    content = encoded(ramp, "PNG")
    assert inspect_image(content).width == 256
    row = [decode_upright(content).getpixel((column, 0)) for column in (0, 100, 255)]
    assert row == [(0, 0, 0), (100, 100, 100), (255, 255, 255)]


def test_small_refusals() -> None:
    assert reason_of(b"") == "empty file"
    assert reason_of(b"GIF89a") == "format not allowed"
    assert reason_of(b"\xff\xd8\xff") == "broken header"
    assert reason_of(encoded(noise(), "PNG"), max_pixels=64 * 48 - 1) == "too many pixels"
    assert reason_of(encoded(noise(), "PNG"), max_pixels=64 * 48) == ""


def test_a_renamed_image_is_what_it_holds() -> None:
    assert [format_of(encoded(noise(), kind)) for kind in ("JPEG", "PNG", "WEBP", "GIF")] == [
        "jpg",
        "png",
        "webp",
        "",
    ]


def test_a_refusal_says_the_same_in_every_run() -> None:
    with pytest.raises(BadImageError) as caught:
        inspect_image(b"\x89PNG\r\n\x1a\n" + b"x" * 50)
    assert " 0x" not in caught.value.detail


BOMB = """
import resource, sys
from opendet.sources.images import BadImageError, inspect_image
from PIL import Image
import io
warm = io.BytesIO()
Image.new("RGB", (8, 8)).save(warm, sys.argv[2])
inspect_image(warm.getvalue())
content = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    inspect_image(content, max_pixels=int(sys.argv[3]))
except BadImageError as bad:
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(bad.reason, grown // 1024, sep=",")
"""


@pytest.mark.parametrize(
    ("kind", "side", "max_pixels"),
    [
        ("PNG", 20_000, 50_000_000),  # Pillow's own error
        ("PNG", 12_000, 50_000_000),  # Pillow's warning
        ("PNG", 12_000, 200_000_000),  # Pillow's warning, below our limit
        ("JPEG", 7_200, 50_000_000),  # ours alone
        ("WEBP", 7_200, 50_000_000),
    ],
)
def test_bombs_are_refused_before_pixels_are_allocated(
    tmp_path: Path, kind: str, side: int, max_pixels: int
) -> None:
    # decoded, each takes more than the bound: of RGB Pillow holds 4 bytes a pixel
    image = Image.new("1" if kind == "PNG" else "RGB", (side, side))
    path = tmp_path / "bomb"
    path.write_bytes(encoded(image, kind, method=0, compress_level=1, quality=1))
    del image
    ran = subprocess.run(
        [sys.executable, "-c", BOMB, str(path), kind, str(max_pixels)],
        capture_output=True,
        text=True,
        check=True,
    )
    reason, grown = ran.stdout.strip().split(",")
    assert reason == "too many pixels"
    assert int(grown) < 50  # MB


def test_decoding_refuses_a_bomb_that_nobody_inspected() -> None:
    """A shard from elsewhere may hold one."""
    for side in (10_000, 20_000):  # above Pillow's warning, above its error
        bomb = encoded(Image.new("1", (side, side)), "PNG", compress_level=1)
        with pytest.raises(BadImageError, match="too many pixels"):
            decode_upright(bomb)


def test_an_upright_image_can_be_saved_whatever_its_file_said_beside() -> None:
    palette = noise().convert("P")
    for image, options in ((palette, {"transparency": bytes(range(256))}), (noise(), {})):
        upright = decode_upright(encoded(image, "PNG", **options))
        assert encoded(upright, "PNG")
        assert upright.info == {}


def test_a_refusal_pickles() -> None:
    bad = pickle.loads(pickle.dumps(BadImageError("broken image", "why")))
    assert (bad.reason, bad.detail) == ("broken image", "why")


def same_pixels(content: bytes) -> bool:
    """Whether both forms hold Pillow's own upright picture, or are refused as an inspection does.

    Pillow alone is asked about JPEGs: of other kinds there is one decoder.
    """
    try:
        inspect_image(content, max_pixels=MOST_PIXELS)
    except BadImageError as bad:
        reasons = set()
        for decode in (decode_upright, pixels_upright):
            with pytest.raises(BadImageError) as caught:
                decode(content)
            reasons.add(caught.value.reason)
        return reasons == {bad.reason if content else "format not allowed"}
    upright, pixels = np.array(decode_upright(content)), pixels_upright(content)
    if format_of(content) == "jpg":
        with Image.open(io.BytesIO(content)) as image:
            pillows = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    else:
        pillows = upright
    return bool(pixels.flags.c_contiguous) and all(
        np.array_equal(one, pillows) for one in (upright, pixels)
    )


def test_pixels_are_pillow_s_on_every_odd_image(shared_data: Path) -> None:
    paths = [path for path in (shared_data / "odd_images").rglob("*") if path.is_file()]
    assert sum(format_of(path.read_bytes()) == "jpg" for path in paths) > 20
    assert [path.name for path in paths if not same_pixels(path.read_bytes())] == []


@settings(max_examples=80, deadline=None)
@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    quality=st.integers(1, 100),
    subsampling=st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
    progressive=st.booleans(),
    mode=st.sampled_from(["RGB", "RGB", "L", "CMYK"]),
    orientation=st.integers(1, 8),
)
def test_pixels_are_pillow_s_for_every_kind_of_jpeg(
    size: tuple[int, int],
    quality: int,
    subsampling: str,
    progressive: bool,
    mode: str,
    orientation: int,
) -> None:
    image = noise(size).convert(mode)
    exif = image.getexif()
    exif[0x0112] = orientation
    options = {"subsampling": subsampling} if mode == "RGB" else {}
    content = encoded(image, quality=quality, progressive=progressive, exif=exif, **options)
    assert same_pixels(content)
    assert same_pixels(content[: len(content) * 2 // 3])


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2000), st.binary(min_size=1))
def test_a_damaged_jpeg_gives_pillow_s_pixels_or_reason(place: int, new: bytes) -> None:
    content = encoded(noise((40, 30)))
    place %= len(content)
    assert same_pixels(content[:place] + new + content[place + len(new) :])
