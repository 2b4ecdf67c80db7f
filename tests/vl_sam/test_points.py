"""Maps and their points, worked by hand and as properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from opendet.annotators.segment import PointPair
from opendet.vl_sam.heatmaps import (
    LONGEST_SIDE,
    Heat,
    NamedMap,
    cell_of,
    heat_of,
    map_size,
    of_larger,
    within,
    without,
)
from opendet.vl_sam.points import cutoff_of, in_pixels, point_pair, positive_area

HEAT = np.array(
    [
        [0.0, 0.0, 0.9, 0.1],
        [0.8, 0.7, 0.0, 0.2],
        [0.6, 0.0, 0.0, 0.3],
        [0.0, 0.0, 0.0, 1.0],
    ],
    np.float32,
)


def named(grid: object, shown: tuple[float, float, float, float]) -> NamedMap:
    return NamedMap("dog", np.asarray(grid, np.float32), shown)


# --- maps


def test_a_map_of_the_grids_size_is_the_grid_between_0_and_1() -> None:
    heat = heat_of(named([[2, 4], [6, 10]], (0, 0, 2, 2)), (2, 2))
    assert heat is not None
    assert heat.tolist() == [[0, 0.25], [0.5, 1]]


def test_a_map_is_bilinear_between_the_middles_of_cells() -> None:
    heat = heat_of(named([[0, 1]], (0, 0, 8, 2)), (8, 2))
    assert heat is not None
    # cells' middles at x = 2 and 6, pixels' at .5, 1.5, ...
    assert heat[0].tolist() == pytest.approx([0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1])
    assert np.array_equal(heat[0], heat[1])


def test_what_the_model_was_not_shown_is_no_number() -> None:
    heat = heat_of(named([[0, 1], [0, 1]], (2, 0, 6, 4)), (8, 4))
    assert heat is not None
    assert np.isnan(heat[:, :2]).all()
    assert np.isnan(heat[:, 6:]).all()
    assert np.isfinite(heat[:, 2:6]).all()


def test_a_margin_that_the_model_saw_around_the_image_is_left_out() -> None:
    """A square of 8 around an image of 8 x 4: its middle rows are the image."""
    grid = [[9, 9], [0, 1], [2, 3], [9, 9]]
    heat = heat_of(named(grid, (0, -2, 8, 6)), (8, 4))
    assert heat is not None
    assert heat.shape == (4, 8)
    assert heat[2, 0] > heat[1, 0]


def test_equal_attention_is_no_map() -> None:
    assert heat_of(named([[0.3, 0.3], [0.3, 0.3]], (0, 0, 8, 8)), (8, 8)) is None


def test_large_images_have_small_maps() -> None:
    assert map_size((80, 50)) == (80, 50)
    assert map_size((4096, 1024)) == (LONGEST_SIDE, 128)
    heat = heat_of(named([[0, 1], [1, 0]], (0, 0, 4096, 1024)), (4096, 1024))
    assert heat is not None
    assert heat.shape == (128, LONGEST_SIDE)
    assert cell_of(named(np.zeros((4, 8)), (0, 0, 4096, 1024)), (4096, 1024)) == 64
    assert cell_of(named(np.zeros((9, 9)), (0, 0, 3, 3)), (3, 3)) == 1


def test_a_map_of_an_image_shown_smaller_lies_on_the_larger_one() -> None:
    small = named([[0, 1], [2, 3]], (10, 0, 50, 40))
    large = of_larger(small, (60, 40), (120, 81))
    assert large.shown_xyxy == pytest.approx((20, 0, 100, 81))
    assert large.grid is small.grid


def test_attention_is_zeroed_inside_or_outside_of_a_mask() -> None:
    heat: Heat = np.array([[0.2, 0.4], [np.nan, 1.0]], np.float32)
    mask = np.array([[True, False], [True, False]])
    assert without(heat, mask)[0].tolist() == pytest.approx([0, 0.4])
    assert np.isnan(without(heat, mask)[1, 0])
    assert within(heat, mask)[0].tolist() == pytest.approx([0.2, 0])
    assert within(heat, mask)[1, 1] == 0


def test_a_mask_of_another_size_is_one_clear_line() -> None:
    with pytest.raises(ValueError, match="mask of 5 x 4 pixels does not lie on a map of 4 x 4"):
        without(HEAT, np.zeros((4, 5), np.bool_))


# --- points


def test_a_map_is_cut_at_its_mean_and_one_deviation() -> None:
    heat: Heat = np.array([[0, 0, 0, 1, np.nan]], np.float32)
    assert cutoff_of(heat, "mean_std") == pytest.approx(0.25 + 0.1875**0.5)


def test_otsus_rule_cuts_between_two_kinds() -> None:
    rng = np.random.default_rng(0)
    low, high = rng.normal(0.2, 0.03, 900), rng.normal(0.7, 0.05, 100)
    heat = np.concatenate((low, high)).astype(np.float32).reshape(25, 40)
    assert low.max() < cutoff_of(heat, "otsu") < high.min()
    # by hand: {0, 0, 1} | {3} has 3 * 1 * (3 - 1/3)^2 between its sides, {0, 0} | {1, 3} only
    # 2 * 2 * 2^2; the cut is in the middle of 1 and 3
    cutoff = cutoff_of(np.array([[0, 0, 1, 3]], np.float32), "otsu")
    assert cutoff == pytest.approx(2, abs=0.02)


def test_the_positive_area_is_the_largest_piece() -> None:
    area = positive_area(HEAT, 0.5)
    assert area is not None
    assert sorted(zip(*map(list, np.nonzero(area)), strict=True)) == [(1, 0), (1, 1), (2, 0)]
    assert positive_area(HEAT, 1.0) is None


def test_the_pair_is_the_hottest_inside_and_the_coldest_outside() -> None:
    # the hottest of all, at (3, 3), is no part of the largest piece; of the cold ones the farthest
    assert point_pair(HEAT, 0.5) == PointPair((0.0, 1.0), (2.0, 3.0))
    colder = HEAT.copy()
    colder[0, 0] = -0.1
    assert point_pair(colder, 0.5) == PointPair((0.0, 1.0), (0.0, 0.0))


def test_no_pair_where_nothing_is_hot_or_all_is() -> None:
    assert point_pair(HEAT, 1.0) is None
    assert point_pair(np.ones((3, 3), np.float32), 0.5) is None


def test_unseen_pixels_are_neither_inside_nor_outside() -> None:
    heat = HEAT.copy()
    heat[:, 2] = heat[3] = np.nan
    pair = point_pair(heat, 0.5)
    assert pair == PointPair((0.0, 1.0), (1.0, 0.0))


@given(arrays(np.float32, (6, 7), elements=st.floats(0, 1, width=32)), st.floats(0, 1))
def test_pairs_keep_their_promise(heat: Heat, cutoff: float) -> None:
    pair, area = point_pair(heat, cutoff), positive_area(heat, cutoff)
    if pair is None:
        assert area is None or area.all()
        return
    assert area is not None
    (x, y), (far_x, far_y) = (map(int, one) for one in (pair.inside_xy, pair.outside_xy))
    assert area[y, x]
    assert heat[y, x] == heat[area].max()
    assert not area[far_y, far_x]
    assert heat[far_y, far_x] == heat[~area].min()


def test_points_go_from_the_middle_of_a_pixel_to_the_middle_of_what_it_covers() -> None:
    pair = in_pixels(PointPair((0.0, 0.0), (3.0, 1.0)), (4, 2), (40, 40))
    assert pair == PointPair((4.5, 9.5), (34.5, 29.5))
    same = PointPair((1.0, 0.0), (3.0, 1.0))
    assert in_pixels(same, (4, 2), (4, 2)) == same
