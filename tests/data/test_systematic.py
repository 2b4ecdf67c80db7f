"""Whole counts of real expectations: right to less than one, and right in the mean."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from opendet.data.systematic import whole_draws


@st.composite
def expectations(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """(N,) that add up to a whole number, and (N,) groups."""
    size = draw(st.integers(1, 60))
    raw = draw(arrays.arrays(np.float64, size, elements=st.floats(0.01, 4)))
    groups = draw(arrays.arrays(np.int64, size, elements=st.integers(0, 3)))
    return raw * (np.ceil(raw.sum()) / raw.sum()), groups


@given(expectations(), st.integers(0, 2**32 - 1))
def test_counts_and_their_sums_are_floor_or_ceiling(
    world: tuple[np.ndarray, np.ndarray], seed: int
) -> None:
    expected, groups = world
    counts = whole_draws(expected, groups, np.random.default_rng(seed))
    assert counts.sum() == round(expected.sum())
    assert np.all(np.abs(counts - expected) < 1 + 1e-6)
    for group in range(4):
        inside = groups == group
        assert abs(counts[inside].sum() - expected[inside].sum()) < 1 + 1e-6


def test_the_mean_is_what_is_expected() -> None:
    expected = np.array([0.1, 0.9, 1.5, 2.25, 0.25])
    groups = np.array([0, 0, 1, 1, 1])
    rng = np.random.default_rng(0)
    mean = np.mean([whole_draws(expected, groups, rng) for _ in range(4000)], axis=0)
    assert np.abs(mean - expected).max() < 0.03  # 4 standard errors of a fair coin


def test_whole_expectations_are_met_exactly() -> None:
    expected = np.array([1.0, 0.0, 3.0, 1.0 - 1e-12])
    counts = whole_draws(expected, np.zeros(4, np.int64), np.random.default_rng(0))
    assert counts.tolist() == [1, 0, 3, 1]
