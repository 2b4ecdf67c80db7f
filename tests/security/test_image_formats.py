"""The first bytes choose one decoder of three, and no other one ever sees the file."""

import io

import pytest
from PIL import Image

from opendet.sources.images import BadImageError, decode_upright, inspect_image

STARTS = {
    "jpg": b"\xff\xd8\xff\xe0",
    "png": b"\x89PNG\r\n\x1a\n",
    "webp": b"RIFF\x40\x00\x00\x00WEBP",
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets the length of each file that a decoder for anything at all has been shown."""
    seen: list[int] = []

    def decoder(file: io.BytesIO, _: str) -> None:
        seen.append(len(file.read()))
        raise SyntaxError("not mine")

    Image.init()
    monkeypatch.setitem(Image.OPEN, "ANYTHING", (decoder, None))
    monkeypatch.setattr(Image, "ID", ["ANYTHING", *Image.ID])
    return seen


@pytest.mark.parametrize("kind", STARTS)
def test_no_other_decoder_is_asked(asked: list[int], kind: str) -> None:
    for content in (STARTS[kind], STARTS[kind] + b"junk" * 20, STARTS[kind] + bytes(80)):
        for read in (inspect_image, decode_upright):
            with pytest.raises(BadImageError):
                read(content)
    assert asked == []


def test_the_decoder_would_have_been_asked(asked: list[int]) -> None:
    with pytest.raises(OSError):  # noqa: PT011
        Image.open(io.BytesIO(STARTS["jpg"] + b"junk" * 20))
    assert asked
