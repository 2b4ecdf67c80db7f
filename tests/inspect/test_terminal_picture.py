"""Pictures on a terminal: what the environment says it can, and that boxes stand where they are."""

import base64
import io
import re
from collections.abc import Mapping

import pytest
from PIL import Image
from rich.console import Console

from opendet.inspect.terminal_picture import (
    MOST_COLUMNS,
    MOST_ROWS,
    Way,
    cells_of,
    colour_at,
    half_blocks,
    iterm_codes,
    kitty_codes,
    legend,
    show_picture,
    way_of,
    with_boxes,
)
from opendet.record import Provenance, Region
from tests.exports.export_world import record

SOURCE = Provenance("source")
DOG = Region((2, 1, 12, 7), SOURCE, names=("dog",))
REFUSED = Region((14, 1, 18, 9), SOURCE, names=("cat",), refusal="border")


def terminal(
    width: int = 80, colours: str | None = "truecolor", environment: Mapping[str, str] | None = None
) -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=True,
        width=width,
        color_system=colours,  # type: ignore[arg-type]
        legacy_windows=False,
        _environ=dict(environment or {"TERM": "xterm"}),
    )


@pytest.mark.parametrize(
    ("environment", "way"),
    [
        ({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"}, Way.KITTY),
        ({"TERM": "xterm-ghostty", "GHOSTTY_RESOURCES_DIR": "/x"}, Way.KITTY),
        ({"TERM": "xterm", "TERM_PROGRAM": "iTerm.app"}, Way.ITERM),
        ({"TERM": "xterm", "TERM_PROGRAM": "WezTerm"}, Way.ITERM),
        ({"TERM": "xterm", "LC_TERMINAL": "iTerm2"}, Way.ITERM),
        ({"TERM": "tmux-256color", "TMUX": "x", "KITTY_WINDOW_ID": "1"}, Way.BLOCKS),
        ({"TERM": "screen", "STY": "x", "TERM_PROGRAM": "iTerm.app"}, Way.BLOCKS),
        ({"TERM": "xterm"}, Way.BLOCKS),
    ],
)
def test_the_way_is_what_the_environment_says(environment: dict[str, str], way: Way) -> None:
    assert way_of(terminal(environment=environment), environment) is way


def test_no_picture_where_it_would_be_noise() -> None:
    kitty = {"TERM": "xterm-kitty"}
    assert way_of(Console(file=io.StringIO(), force_terminal=False), kitty) is Way.NONE
    assert way_of(terminal(environment={"TERM": "dumb"}), {"TERM": "dumb"}) is Way.NONE
    assert way_of(terminal(colours="standard"), {"TERM": "xterm"}) is Way.NONE
    bleak = {"TERM": "xterm", "NO_COLOR": "1"}
    assert way_of(terminal(environment=bleak), bleak) is Way.NONE


@pytest.mark.parametrize(
    ("size", "width", "cells"),
    [
        ((100, 100), 200, (72, 36)),
        ((400, 100), 200, (100, 12)),
        ((100, 400), 200, (18, 36)),
        ((100, 100), 41, (40, 20)),
        ((10000, 1), 200, (100, 1)),
        ((1, 10000), 200, (1, 36)),
    ],
)
def test_cells_keep_the_shape(size: tuple[int, int], width: int, cells: tuple[int, int]) -> None:
    """A cell is as high as two of it are wide."""
    assert cells_of(size, width) == cells
    assert cells[0] <= MOST_COLUMNS
    assert cells[1] <= MOST_ROWS


def test_boxes_stand_where_they_are() -> None:
    one = record(regions=[DOG, REFUSED])  # of 20 x 10 pixels
    drawn = with_boxes(Image.new("RGB", (40, 20)), one)
    painted = {
        colour: {(x, y) for x in range(40) for y in range(20) if drawn.getpixel((x, y)) == colour}
        for colour in (colour_at(0, DOG), colour_at(1, REFUSED))
    }
    dog, refused = painted.values()
    assert (min(dog), max(dog)) == ((4, 2), (23, 13)), "[4, 24) x [2, 14) of twice the pixels"
    assert (min(refused), max(refused)) == ((28, 2), (35, 17))
    assert drawn.getpixel((10, 8)) == (0, 0, 0), "a box is not filled"


@pytest.mark.parametrize(
    "box",
    [(-5, -5, 900, 900), (19, 9, 20, 10), (0, 0, 0, 0), (9, 9, 1, 1), (0, 0, float("nan"), 1)],
)
def test_any_box_can_be_drawn(box: tuple[float, float, float, float]) -> None:
    drawn = with_boxes(Image.new("RGB", (7, 5)), record(regions=[Region(box, SOURCE)]))
    assert drawn.size == (7, 5)


def test_half_blocks_show_two_pixels_a_character() -> None:
    image = Image.new("RGB", (3, 4))
    image.putpixel((1, 0), (255, 0, 0))
    image.putpixel((1, 1), (0, 255, 0))
    console = terminal()
    console.print(half_blocks(image))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("▀") == 6
    assert text.count("\n") == 2
    assert "38;2;255;0;0;48;2;0;255;0m▀" in text


def test_protocols_carry_the_whole_file() -> None:
    png = bytes(range(256)) * 40
    codes = kitty_codes(png, 30)
    chunks = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", codes)
    assert base64.b64decode("".join(chunk for _, chunk in chunks)) == png
    assert all(len(chunk) <= 4096 for _, chunk in chunks)
    assert chunks[0][0] == "f=100,a=T,q=2,c=30,m=1"
    assert [head for head, _ in chunks[1:]] == ["m=1"] * (len(chunks) - 2) + ["m=0"]
    single = kitty_codes(b"x", 1)
    assert single.count("\x1b_G") == 1
    assert "m=0" in single
    head, _, body = iterm_codes(png, 30).partition(":")
    assert head == "\x1b]1337;File=inline=1;size=10240;width=30;preserveAspectRatio=1"
    assert base64.b64decode(body.removesuffix("\a")) == png


@pytest.mark.parametrize("way", list(Way))
def test_a_picture_is_shown_by_every_way(way: Way) -> None:
    console = terminal(width=30)
    show_picture(console, way, Image.new("RGB", (20, 10), "navy"), record(regions=[DOG, REFUSED]))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    mark = {Way.KITTY: "\x1b_G", Way.ITERM: "\x1b]1337;", Way.BLOCKS: "▀"}.get(way)
    if mark is None:
        assert text == ""
        return
    assert mark in text
    assert "0 dog" in text
    assert "1 cat (refused: border)" in text
    assert console.file.getvalue().count("▀") == (29 * 7 if way is Way.BLOCKS else 0)  # type: ignore[attr-defined]


def test_names_steer_no_terminal() -> None:
    console = terminal()
    console.print(legend(record(regions=[Region((0, 0, 1, 1), SOURCE, names=("\x1b[2J[bold]a",))])))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[2J" not in text
    assert "[bold]a" in text
