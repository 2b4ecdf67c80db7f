"""DBSCAN by cosine, against scikit-learn's over random vectors, in one block and in many."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN

from opendet.curate import dense_spots as module
from opendet.curate.dense_spots import auto_eps, dense_spots
from opendet.curate.unit_products import Floats, as_units


def turned(*degrees: float) -> Floats:
    angles = np.radians(degrees)
    return as_units(np.stack((np.cos(angles), np.sin(angles)), axis=1))


def cosine(degrees: float) -> float:
    return float(np.cos(np.radians(degrees)))


def distances_in(unit: Floats) -> NDArray[np.float64]:
    return np.asarray((1 - unit.astype(np.float64) @ unit.T.astype(np.float64)).clip(min=0))


def of_scikit_learn(unit: Floats, eps: float, min_samples: int) -> NDArray[np.int64]:
    labels: NDArray[np.int64] = DBSCAN(
        eps=eps, min_samples=min_samples, metric="precomputed"
    ).fit_predict(distances_in(unit))
    return labels


@pytest.mark.parametrize(
    ("cells", "pairs", "kept"), [(1 << 24, 1 << 21, 1 << 31), (64, 40, 1 << 31), (64, 1, 0)]
)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 40),
    width=st.integers(2, 4),
    eps=st.floats(0.001, 0.5),
    min_samples=st.integers(1, 6),
)
def test_labels_are_scikit_learns(
    cells: int,
    pairs: int,
    kept: int,
    seed: int,
    count: int,
    width: int,
    eps: float,
    min_samples: int,
) -> None:
    unit = as_units(np.random.default_rng(seed).normal(size=(count, width)))
    # Where rounding decides, both are right.
    assume((np.abs(distances_in(unit) - eps) > 1e-5).all())
    wanted = of_scikit_learn(unit, eps, min_samples)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CELLS", cells)
        patch.setattr(module, "PAIRS", pairs)
        patch.setattr(module, "KEPT", kept)
        np.testing.assert_array_equal(dense_spots(unit, eps, min_samples), wanted)


def test_a_border_belongs_to_the_first_spot_that_reaches_it() -> None:
    eps = 1 - cosine(10.5)
    # The vector at 20 degrees is within 10.5 of one core on each side and is none itself.
    unit = turned(30, 34, 38, 39, 10, 6, 2, 1, 20)
    labels = dense_spots(unit, eps, 4)
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 0]
    np.testing.assert_array_equal(labels, of_scikit_learn(unit, eps, 4))
    turned_round = dense_spots(unit[::-1].copy(), eps, 4)
    assert turned_round.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1]


def test_near_copies_need_no_memory_for_their_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CELLS", 1 << 16)
    monkeypatch.setattr(module, "PAIRS", 1 << 15)
    count = 3000
    noise = np.random.default_rng(0).normal(0, 0.01, (count, 8))
    unit = as_units(np.eye(8)[:1] + noise)
    tracemalloc.start()
    labels = dense_spots(unit, 0.1, 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert set(labels.tolist()) == {0}
    assert peak < count**2, "less than a byte for each pair"


def test_the_fourth_neighbour_gives_eps() -> None:
    # farthest of the four others: 40, 30, 20, 30 and 40 degrees, so the 80th percentile is 40
    assert auto_eps(turned(0, 10, 20, 30, 40)) == pytest.approx(1 - cosine(40), abs=1e-6)
    assert auto_eps(turned(0, 10)) == pytest.approx(1 - cosine(10), abs=1e-6)
    assert auto_eps(turned(0, 0, 0, 0, 0, 0)) == pytest.approx(module.SMALLEST_EPS)
    assert auto_eps(turned(7)) > 0


def test_eps_of_blocks_is_that_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = as_units(np.random.default_rng(1).normal(size=(50, 3)))
    wanted = auto_eps(unit)
    monkeypatch.setattr(module, "CELLS", 64)
    assert auto_eps(unit) == pytest.approx(wanted, abs=1e-6)
