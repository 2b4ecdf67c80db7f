"""Places in the plane: neighbours stay neighbours, families get colours that differ."""

import numpy as np
import pytest

from opendet.pools.projection import FEWEST, colours_of, project
from tests.pools.pool_world import unit


def groups(count: int, members: int, *, width: int = 16, seed: int = 0) -> np.ndarray:
    """(count * members, width) unit rows in tight groups, one after the other."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(count, width)).repeat(members, axis=0)
    return unit(centres + rng.normal(size=centres.shape) / 20)


def test_the_same_rows_give_the_same_places() -> None:
    rows = groups(4, 10)
    places = project(rows)
    assert places.tobytes() == project(rows).tobytes()
    assert places.min() == 0
    assert places.max() == 1


def test_groups_stay_together() -> None:
    places = project(groups(5, 12))
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    assert (apart.argmin(axis=1) // 12 == np.arange(60) // 12).all()


@pytest.mark.parametrize("count", [2, 3, FEWEST - 1, FEWEST, FEWEST + 1])
def test_few_rows_have_places_too(count: int) -> None:
    places = project(groups(count, 1))
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
    assert len(np.unique(places, axis=0)) == count


def test_rows_in_one_place_are_no_error() -> None:
    np.testing.assert_array_equal(project(np.ones((3, 4), np.float32) / 2), 0.5)
    assert np.isfinite(project(np.ones((FEWEST, 4), np.float32) / 2)).all()
    assert project(unit([(1.0,), (-1.0,)])).shape == (2, 2)


def test_families_keep_a_colour_and_neighbours_differ() -> None:
    along = np.linspace(0, 1, 12)
    places = np.stack([along, np.zeros(12)], axis=1)
    families = np.arange(12) // 2
    colours = colours_of(places, families, 3)
    assert (colours[::2] == colours[1::2]).all()
    assert (colours[::2][1:] != colours[::2][:-1]).all()
    assert set(colours.tolist()) == {0, 1, 2}
    assert (colours_of(places, np.zeros(12, int), 3) == 0).all()
