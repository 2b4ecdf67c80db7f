"""Tiles, and a finder that knows each thing by its colour, however much of it is shown."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from faster_coco_eval.core.mask import decode, encode
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from opendet.annotators.detection import Found
from opendet.annotators.tiling import Tile, find_tiled, shifted, tiles

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
COLOURS = {"red": RED, "green": GREEN, "blue": BLUE}


class Colours:
    """Finds the pixels of each colour that it is asked for; the larger, the surer."""

    name, revision = "colours", ""

    def __init__(self) -> None:
        self.shown: list[tuple[int, int]] = []

    def find(
        self, images: Sequence[Image.Image], names: Sequence[tuple[str, ...]]
    ) -> list[list[Found]]:
        assert len(images) == len(names)
        self.shown += [image.size for image in images]
        return [
            [found for name in asked if (found := self._one(np.asarray(image), name))]
            for image, asked in zip(images, names, strict=True)
        ]

    def _one(self, pixels: np.ndarray, name: str) -> Found | None:
        inside = (pixels == COLOURS[name]).all(-1)
        if not inside.any():
            return None
        rows, columns = inside.any(1).nonzero()[0], inside.any(0).nonzero()[0]
        x0, y0 = float(columns[0]), float(rows[0])
        x1, y1 = float(columns[-1] + 1), float(rows[-1] + 1)
        code = encode(np.asfortranarray(inside.astype(np.uint8)))["counts"].decode()
        return Found((x0, y0, x1, y1), name, float(inside.mean()), code)


def painted(size: tuple[int, int], **boxes: Tile) -> Image.Image:
    image = Image.new("RGB", size)
    for name, box in boxes.items():
        image.paste(COLOURS[name], box)
    return image


def look(
    image: Image.Image, *names: str, tile: int | None = 100, overlap: float = 0.2
) -> list[Found]:
    [found] = find_tiled(Colours(), [image], [names], tile=tile, overlap=overlap)
    return found


lengths = st.integers(1, 400)


@given(lengths, lengths, st.integers(16, 200), st.floats(0, 0.8))
def test_tiles_cover_every_pixel_and_stay_inside(
    width: int, height: int, side: int, overlap: float
) -> None:
    found = tiles(width, height, side, overlap)
    assert (found == []) == (width <= side and height <= side)
    assert len(set(found)) == len(found)
    if not found:
        return
    for x0, y0, x1, y1 in found:
        assert min(x0, y0, width - x1, height - y1) >= 0
        assert (x1 - x0, y1 - y0) == (min(side, width), min(side, height))
    for low, high, end in ((0, 2, width), (1, 3, height)):
        spans = sorted({(one[low], one[high]) for one in found})
        assert (spans[0][0], spans[-1][1]) == (0, end)  # flush, both ends
        for (_, before), (after, _) in pairwise(spans):
            assert before - after >= int(side * overlap)
    assert len(found) == len({(x, y) for x, _, _, _ in found for _, y, _, _ in found})


def test_tiles_of_a_known_image() -> None:
    assert tiles(100, 80, 100, 0.2) == []
    assert tiles(180, 80, 100, 0.2) == [(0, 0, 100, 80), (80, 0, 180, 80)]
    assert tiles(101, 150, 100, 0) == [
        *((0, 0, 100, 100), (1, 0, 101, 100)),
        *((0, 50, 100, 150), (1, 50, 101, 150)),
    ]


def test_an_image_of_one_tile_is_shown_once() -> None:
    finder = Colours()
    image = painted((100, 60), red=(1, 2, 30, 40))
    for tile in (100, None):
        [found] = find_tiled(finder, [image], [("red",)], tile=tile, overlap=0.2)
        assert found == finder.find([image], [("red",)])[0]
    assert finder.shown == [(100, 60)] * 4
    assert find_tiled(finder, [], [], tile=100, overlap=0.2) == []


def test_what_two_tiles_and_the_whole_show_is_found_three_times_in_one_place() -> None:
    """Tiles 0 to 100 and 70 to 170 both hold all of it."""
    image = painted((170, 90), red=(75, 20, 95, 40))
    found = look(image, "red", overlap=0.3)
    assert [one.box_xyxy for one in found] == [(75, 20, 95, 40)] * 3
    assert len({one.mask for one in found}) == 1
    assert decode({"size": [90, 170], "counts": found[0].mask})[20:40, 75:95].all()
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_what_a_tile_cuts_is_left_to_the_next_one() -> None:
    """The first tile ends at 100, the second begins at 80: only the second holds all of it."""
    image = painted((180, 90), red=(85, 20, 110, 40))
    assert [one.box_xyxy for one in look(image, "red")] == [(85, 20, 110, 40)] * 2


@pytest.mark.parametrize("edge", [99, 100])
def test_what_ends_at_a_tiles_inner_border_counts_as_cut(edge: int) -> None:
    """A detector that is a little short of the border says nothing about what lies behind it."""
    image = painted((180, 90), red=(50, 20, edge, 40))
    twice = [(50, 20, edge, 40)] * (2 if edge == 99 else 1)
    assert [one.box_xyxy for one in look(image, "red")] == twice


def test_what_is_larger_than_a_tile_is_found_in_the_whole_image_alone() -> None:
    image = painted((400, 300), red=(20, 30, 380, 280), green=(150, 100, 170, 120))
    found = look(image, "red", "green")
    assert [one.box_xyxy for one in found if one.name == "red"] == [(20, 30, 380, 280)]
    assert {one.box_xyxy for one in found if one.name == "green"} == {(150, 100, 170, 120)}
    assert sum(one.name == "green" for one in found) >= 2


def test_the_images_own_border_cuts_nothing_off() -> None:
    image = painted((180, 90), red=(0, 0, 10, 90), blue=(170, 40, 180, 90))
    assert [one.box_xyxy for one in look(image, "red")] == [(0, 0, 10, 90)] * 2
    assert [one.box_xyxy for one in look(image, "blue")] == [(170, 40, 180, 90)] * 2


def test_each_image_is_asked_its_own_names_in_one_call() -> None:
    finder = Colours()
    pair = [
        painted((180, 90), red=(5, 5, 15, 15)),
        painted((60, 60), red=(1, 1, 9, 9), blue=(20, 20, 40, 40)),
    ]
    found = find_tiled(finder, pair, [("red", "green"), ("blue",)], tile=100, overlap=0.2)
    assert [[one.name for one in things] for things in found] == [["red", "red"], ["blue"]]
    assert finder.shown == [(180, 90), (60, 60), (100, 90), (100, 90)]


@given(st.data())
def test_shifting_back_is_exact(data: st.DataObject) -> None:
    """A box and its mask in a tile come to lie where a crop of the image took them from."""
    width, height = data.draw(st.integers(90, 160)), data.draw(st.integers(90, 160))
    x0, y0 = data.draw(st.integers(0, width - 2)), data.draw(st.integers(0, height - 2))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    image = painted((width, height), red=(x0, y0, x1, y1))
    [whole] = Colours().find([image], [("red",)])[0]
    for tile in tiles(width, height, 80, 0.25):
        for part in Colours().find([image.crop(tile)], [("red",)])[0]:
            moved = shifted(part, tile, image.size)
            shown = tuple(max(a, b) for a, b in zip((x0, y0), tile[:2], strict=True))
            shown += tuple(min(a, b) for a, b in zip((x1, y1), tile[2:], strict=True))
            assert moved.box_xyxy == shown
            assert (moved.name, moved.score) == (part.name, part.score)
            pixels = decode({"size": [height, width], "counts": moved.mask})
            assert pixels.sum() == (shown[2] - shown[0]) * (shown[3] - shown[1])
            assert pixels[shown[1] : shown[3], shown[0] : shown[2]].all()
            if shown == whole.box_xyxy:
                assert moved.mask == whole.mask


def test_no_mask_stays_no_mask() -> None:
    bare = Found((1.5, 2.25, 3.0, 4.0), "red", 0.5, "")
    assert shifted(bare, (10, 20, 110, 120), (300, 300)) == Found(
        (11.5, 22.25, 13.0, 24.0), "red", 0.5, ""
    )
