"""From maps to masks, with a segmenter that fills regions and tells what it was asked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from opendet.annotators.segment import Drawn, PointPair, mask_codes
from opendet.bench.vl_sam_world import region_filler
from opendet.vl_sam.heatmaps import Flags, Heat
from opendet.vl_sam.refinement import RefineRules, found_on_maps, mask_on_map, widened

SIZE = (24, 16)  # width, height
LEFT, RIGHT = (slice(2, 8), slice(2, 8)), (slice(9, 14), slice(15, 21))  # rows, columns
ONCE = RefineRules(redraws=0, instances=1, resample=False)


def squares() -> Image.Image:
    """Two white squares on black."""
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[LEFT] = pixels[RIGHT] = 255
    return Image.fromarray(pixels)


def two_blobs() -> Heat:
    """Hotter on the left square than on the right one, spilling over its edge."""
    heat = np.zeros((16, 24), np.float32)
    heat[1:9, 1:9] = 0.6
    heat[3:7, 3:7] = 1.0
    heat[10:13, 16:20] = 0.8
    return heat


class Told:
    """The world's segmenter, and what it was asked."""

    def __init__(self) -> None:
        self.fill = region_filler(squares())
        self.asked: list[tuple[int, int]] = []
        """Pairs and masks of each call."""
        self.pairs: list[PointPair] = []

    def __call__(self, pairs: Sequence[PointPair], again: Sequence[Any] = ()) -> list[Drawn | None]:
        self.asked.append((len(pairs), len(again)))
        self.pairs += pairs
        return self.fill(pairs, again)


def mask(where: tuple[slice, slice]) -> Flags:
    flags = np.zeros((16, 24), np.bool_)
    flags[where] = True
    return flags


def test_one_pair_one_mask() -> None:
    told = Told()
    [[hit]] = found_on_maps([two_blobs()], [1], SIZE, told, ONCE)
    assert told.asked == [(1, 0)]
    assert hit.pair.inside_xy == (3.0, 3.0)  # the first of the hottest
    assert np.array_equal(mask_on_map(hit.code, SIZE), mask(LEFT))


def test_a_mask_is_handed_back_with_the_pair_that_led_to_it() -> None:
    told = Told()
    rules = RefineRules(redraws=2, instances=1, resample=False)
    [[hit]] = found_on_maps([two_blobs()], [1], SIZE, told, rules)
    assert told.asked == [(1, 0), (1, 1), (1, 1)]
    assert len(set(told.pairs)) == 1
    assert np.array_equal(mask_on_map(hit.code, SIZE), mask(LEFT))


def test_a_second_pair_comes_from_inside_the_mask_alone() -> None:
    heat = two_blobs()
    heat[4, 4] = 0.9  # the hottest of what is on the square is not the hottest of all
    heat[3:7, 3:7] = np.where(heat[3:7, 3:7] == 1, 0.7, heat[3:7, 3:7])
    heat[1, 1:9] = 1.0  # above the square, in its blob
    told = Told()
    rules = RefineRules(redraws=0, instances=1, resample=True)
    [hits] = found_on_maps([heat], [1], SIZE, told, rules)
    assert len(hits) == 2
    assert hits[0].pair.inside_xy == (1.0, 1.0)
    assert mask_on_map(hits[0].code, SIZE)[0, 0]  # the background
    assert not mask_on_map(hits[0].code, SIZE)[4, 4]
    assert mask_on_map(hits[0].code, SIZE)[
        int(hits[1].pair.inside_xy[1]), int(hits[1].pair.inside_xy[0])
    ]


def test_further_things_are_found_where_no_mask_lies() -> None:
    told = Told()
    rules = RefineRules(redraws=0, instances=3, resample=False)
    [hits] = found_on_maps([two_blobs()], [1], SIZE, told, rules)
    assert [one[0] for one in told.asked] == [1, 1]  # and what spills over an edge is no third
    assert np.array_equal(mask_on_map(hits[0].code, SIZE), mask(LEFT))
    assert np.array_equal(mask_on_map(hits[1].code, SIZE), mask(RIGHT))
    x, y = hits[1].pair.outside_xy
    assert two_blobs()[int(y), int(x)] == 0 or mask(LEFT)[int(y), int(x)]


def test_no_further_thing_is_colder_than_the_first_had_to_be() -> None:
    heat = two_blobs()
    heat[10:13, 16:20] = 0.2  # below the mean and one deviation of the whole map
    [hits] = found_on_maps([heat], [1], SIZE, Told(), RefineRules(redraws=0, resample=False))
    assert len(hits) == 1


def test_all_maps_of_an_image_are_drawn_together_and_kept_apart() -> None:
    other = np.zeros((16, 24), np.float32)
    other[10:13, 16:20] = 1
    flat = np.ones((16, 24), np.float32)
    told = Told()
    found = found_on_maps([two_blobs(), flat, other], [1, 1, 1], SIZE, told)
    assert told.asked[:3] == [(2, 0), (2, 2), (2, 0)]
    assert [bool(hits) for hits in found] == [True, False, True]
    assert all(np.array_equal(mask_on_map(hit.code, SIZE), mask(RIGHT)) for hit in found[2])
    assert found_on_maps([], [], SIZE, told) == []


def test_an_empty_mask_is_no_hit_and_an_empty_redrawing_changes_nothing() -> None:
    def nothing(pairs: Sequence[PointPair], again: Sequence[Any] = ()) -> list[Drawn | None]:
        return [None] * max(len(pairs), len(again))

    assert found_on_maps([two_blobs()], [1], SIZE, nothing) == [[]]
    fill = region_filler(squares())

    def once(pairs: Sequence[PointPair], again: Sequence[Any] = ()) -> list[Drawn | None]:
        return [None] * len(again) if again else fill(pairs)

    [hits] = found_on_maps([two_blobs()], [1], SIZE, once)
    assert np.array_equal(mask_on_map(hits[0].code, SIZE), mask(LEFT))


def test_a_mask_is_brought_to_the_maps_size() -> None:
    wide = np.zeros((300, 2048), np.bool_)
    wide[:, 1024:] = True
    [code] = mask_codes(torch.from_numpy(wide)[None])
    small = mask_on_map(code, (2048, 300))
    assert small.shape == (75, 512)
    assert small[:, 256:].all()
    assert not small[:, :256].any()


def test_a_mask_is_widened_by_a_cell() -> None:
    flags = np.zeros((9, 9), np.bool_)
    flags[4, 4] = True
    assert np.argwhere(widened(flags, 2)).tolist() == [
        [y, x] for y in range(2, 7) for x in range(2, 7)
    ]
