"""A sample's picture with its boxes on a terminal: by the terminal's own protocol where the
environment names one, else in half blocks of colour, else not at all.

A cell is one character; it holds two pixels, one above the other.
"""

import base64
import colorsys
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum

from PIL import Image, ImageDraw
from rich.color import Color
from rich.console import Console, Group, RenderableType
from rich.segment import Segment, Segments
from rich.style import Style
from rich.text import Text

from opendet.console import printable
from opendet.record import Record, Region

Colour = tuple[int, int, int]

MOST_COLUMNS, MOST_ROWS = 100, 36
"""Cells that a picture takes at most."""
_LEAST_SIDE, _MOST_SIDE = 512, 1024
"""Pixels of the longer side of what a terminal's protocol is sent."""
_GREY: Colour = (150, 150, 150)
"""Of refused regions."""
_TURN = (math.sqrt(5) - 1) / 2  # of the circle of hues: neighbours by number look unlike
_KITTY_CHUNK = 4096


class Way(Enum):
    """How a picture comes onto the terminal."""

    KITTY = "kitty's graphics protocol"
    ITERM = "iTerm2's inline images"
    BLOCKS = "half blocks"
    NONE = "not at all"


def way_of(console: Console, environment: Mapping[str, str]) -> Way:
    """What the terminal can, as far as its environment says."""
    if not console.is_terminal or console.is_dumb_terminal:
        return Way.NONE
    program = environment.get("TERM_PROGRAM", "")
    within = bool({"TMUX", "STY"} & environment.keys())  # they let no picture through
    kitty = {"KITTY_WINDOW_ID", "GHOSTTY_RESOURCES_DIR"} & environment.keys()
    if not within and (kitty or "kitty" in environment.get("TERM", "")):
        return Way.KITTY
    if not within and (
        program in ("iTerm.app", "WezTerm", "mintty") or environment.get("LC_TERMINAL") == "iTerm2"
    ):
        return Way.ITERM
    colours = not console.no_color and console.color_system in ("truecolor", "256")
    return Way.BLOCKS if colours else Way.NONE


def show_picture(console: Console, way: Way, image: Image.Image, record: Record) -> None:
    """Draw the upright picture and its record's boxes, and what each colour stands for."""
    columns, rows = cells_of(image.size, console.width)
    match way:
        case Way.NONE:
            return
        case Way.BLOCKS:
            small = image.resize((columns, 2 * rows), Image.Resampling.LANCZOS)
            console.print(half_blocks(with_boxes(small, record)))
        case Way.KITTY | Way.ITERM:
            file = io.BytesIO()
            with_boxes(_readable(image), record).save(file, "PNG")
            send = kitty_codes if way is Way.KITTY else iterm_codes
            console.file.write(f"{send(file.getvalue(), columns)}\n")
    console.print(legend(record))


def cells_of(size: tuple[int, int], width: int) -> tuple[int, int]:
    """Columns and rows for a picture of (width, height) pixels on a terminal of that width."""
    columns = max(1, min(MOST_COLUMNS, width - 1, round(2 * MOST_ROWS * size[0] / size[1])))
    rows = max(1, min(MOST_ROWS, round(columns * size[1] / size[0] / 2)))
    return columns, rows


def with_boxes(image: Image.Image, record: Record) -> Image.Image:
    """A copy of the picture, at whatever scale it is, with the boxes of its record."""
    canvas = image.convert("RGB")
    pen = ImageDraw.Draw(canvas)
    scale_x, scale_y = canvas.width / max(record.width, 1), canvas.height / max(record.height, 1)
    line = max(1, round(max(canvas.size) / 180))
    # Kept ones last, on top.
    for number, region in sorted(enumerate(record.regions), key=lambda item: item[1].kept):
        x0, y0, x1, y1 = region.box_xyxy
        sides = (x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y)
        if all(map(math.isfinite, sides)) and x0 <= x1 and y0 <= y1:
            colour = colour_at(number, region)
            pen.rectangle(_inside(sides, canvas.size), outline=colour, width=line)
    return canvas


def colour_at(number: int, region: Region) -> Colour:
    """A bright colour by the region's number; grey where it is refused."""
    if not region.kept:
        return _GREY
    red, green, blue = colorsys.hsv_to_rgb(number * _TURN % 1, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def legend(record: Record) -> RenderableType:
    """A line a region: its colour, its number and its name."""
    return Group(*(_legend_line(n, region) for n, region in enumerate(record.regions)))


def half_blocks(image: Image.Image) -> Segments:
    """An RGB image of an even height as rows of characters that show two pixels each."""
    values, width = image.tobytes(), image.width
    pixels = list(zip(values[0::3], values[1::3], values[2::3], strict=True))
    rows = [pixels[at : at + width] for at in range(0, len(pixels), width)]
    return Segments(_segments(zip(rows[::2], rows[1::2], strict=True)))


def kitty_codes(png: bytes, columns: int) -> str:
    """What draws a PNG file on a terminal of kitty's protocol, so many cells wide."""
    text = base64.b64encode(png).decode()
    chunks = [text[at : at + _KITTY_CHUNK] for at in range(0, len(text), _KITTY_CHUNK)]
    heads = [f"f=100,a=T,q=2,c={columns},", *[""] * (len(chunks) - 1)]
    last = len(chunks) - 1
    return "".join(
        f"\x1b_G{head}m={int(place < last)};{chunk}\x1b\\"
        for place, (head, chunk) in enumerate(zip(heads, chunks, strict=True))
    )


def iterm_codes(png: bytes, columns: int) -> str:
    """What draws a PNG file on a terminal of iTerm2's protocol, so many cells wide."""
    text = base64.b64encode(png).decode()
    return f"\x1b]1337;File=inline=1;size={len(png)};width={columns};preserveAspectRatio=1:{text}\a"


def _segments(pairs: Iterable[tuple[Sequence[Colour], Sequence[Colour]]]) -> Iterator[Segment]:
    for upper, lower in pairs:
        for above, below in zip(upper, lower, strict=True):
            style = Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below))
            yield Segment("▀", style)
        yield Segment.line()


def _legend_line(number: int, region: Region) -> Text:
    name = region.names[0] if region.names else region.label or "no name"
    fate = f" (refused: {region.refusal})" if region.refusal else ""
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("██", Style(color=Color.from_rgb(*colour_at(number, region))))
    text.append(f" {number} {printable(name)}{printable(fate)}")
    return text


def _readable(image: Image.Image) -> Image.Image:
    """At a scale at which thin lines can be told from each other."""
    side = max(image.size)
    scale = min(max(side, _LEAST_SIDE), _MOST_SIDE) / side
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _inside(
    sides: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """A box whose lines are all to be seen."""
    right, bottom = size[0] - 1, size[1] - 1
    x0, y0 = min(max(sides[0], 0), right), min(max(sides[1], 0), bottom)
    return x0, y0, max(x0, min(sides[2] - 1, right)), max(y0, min(sides[3] - 1, bottom))
