"""Products of unit vectors by hand, and a GPU's way of making them against the CPU's."""

import numpy as np
import pytest

from opendet.curate import unit_products
from opendet.curate.unit_products import as_units, assign, cosines, near


def test_by_hand() -> None:
    unit = as_units(np.array([[3, 4], [0, 2], [5, 0]]))
    np.testing.assert_allclose(unit, [[0.6, 0.8], [0.0, 1.0], [1.0, 0.0]])
    found = assign(unit, as_units(np.eye(2)))
    assert found.labels.tolist() == [1, 1, 0]
    np.testing.assert_allclose(found.cosines, [0.8, 1, 1])
    np.testing.assert_allclose(found.sums, [[1.0, 0.0], [0.6, 1.8]])
    np.testing.assert_allclose(cosines(unit, unit[:1])[:, 0], [1, 0.8, 0.6])
    assert near(unit, unit[:1], 0.7)[:, 0].tolist() == [True, True, False]


def test_of_equally_near_centres_the_first() -> None:
    centres = as_units(np.array([[1, 1], [1, -1]]))
    assert assign(as_units(np.array([[1.0, 0]])), centres).labels.tolist() == [0]


def test_blocks_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = as_units(np.random.default_rng(0).normal(size=(100, 5)))
    centres = unit[::10]
    whole = assign(unit, centres)
    monkeypatch.setattr(unit_products, "BLOCK", 7)
    blocks = assign(unit, centres)
    np.testing.assert_array_equal(blocks.labels, whole.labels)
    np.testing.assert_allclose(blocks.sums, whole.sums, atol=1e-5)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_torch_finds_what_numpy_finds(device: str) -> None:
    unit = as_units(np.random.default_rng(0).normal(size=(200, 16)))
    centres = unit[:20]
    ours, theirs = assign(unit, centres), unit_products._assign_on_gpu(unit, centres, device)
    np.testing.assert_array_equal(theirs.labels, ours.labels)
    assert theirs.labels.dtype == ours.labels.dtype
    np.testing.assert_allclose(theirs.cosines, ours.cosines, atol=1e-5)
    np.testing.assert_allclose(theirs.sums, ours.sums, atol=1e-4)


@pytest.mark.gpu
def test_a_gpu_compares_alike() -> None:
    unit = as_units(np.random.default_rng(0).normal(size=(200, 16)))
    np.testing.assert_allclose(cosines(unit, unit, "cuda"), cosines(unit, unit), atol=1e-5)
    assert (near(unit, unit, 0.3, "cuda") == near(unit, unit, 0.3)).mean() > 0.999
