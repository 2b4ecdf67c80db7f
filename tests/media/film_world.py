"""Small films of plain colours: frame n is n times 5 bright, its left upper corner white."""

import struct
from fractions import Fraction
from pathlib import Path

from PIL import Image

from opendet.media.recording import recording

RATE = Fraction(30_000, 1001)
_UPRIGHT = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_QUARTER_TURN = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)


def frame(number: int, size: tuple[int, int] = (96, 64)) -> Image.Image:
    image = Image.new("RGB", size, (5 * number,) * 3)
    image.paste("white", (0, 0, size[0] // 4, size[1] // 4))
    return image


def write_film(
    path: Path, frames: int = 12, *, size: tuple[int, int] = (96, 64), rate: Fraction = RATE
) -> Path:
    with recording(path, rate=rate) as film:
        for number in range(frames):
            film.add(frame(number, size), float(number / rate))
    return path


def as_matroska(path: Path, to: Path) -> Path:
    """The same film in a file that says how long it is, and not how many frames it has."""
    import av

    with av.open(str(path)) as film, av.open(str(to), "w", format="matroska") as made:
        stream = made.add_stream_from_template(film.streams.video[0])
        for packet in film.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    return to


def lay_on_its_side(path: Path) -> None:
    """As a phone writes it: the pixels as before, and a word that they are to be turned right."""
    content = path.read_bytes()
    place = content.index(_UPRIGHT, content.index(b"tkhd"))
    turned = content[:place] + _QUARTER_TURN + content[place + len(_UPRIGHT) :]
    path.write_bytes(turned)


def damage(path: Path) -> None:
    """Bytes in the middle of the pictures."""
    content = bytearray(path.read_bytes())
    begin = content.index(b"mdat") + 4
    middle = (begin + len(content)) // 2
    for place in range(middle, middle + 60):
        content[place] ^= 0x5A
    path.write_bytes(content)
