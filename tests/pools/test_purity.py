"""Purity and its kin, worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendet.pools.purity import own_shares, purity
from opendet.pools.stability import even_rows, seed_stability


def labels(*values: int) -> np.ndarray:
    return np.array(values)


def test_shares_by_hand() -> None:
    """Names a a a b b c; clusters 0 0 1 1 1 and noise; prototype 0 is called a, 1 is called b."""
    names, clusters = labels(0, 0, 0, 1, 1, 2), labels(0, 0, 1, 1, 1, -1)
    found = purity(names, clusters, labels(0, 1))
    assert found is not None
    assert found.members == pytest.approx(4 / 5)
    assert found.prototypes == pytest.approx((1 + 2 / 3) / 2)
    assert (found.names, found.names_kept) == (3, 2)
    assert found.names_gathered == 1 / 2  # a lies in two clusters, b in one, c has one member
    assert found.v_measure == pytest.approx(
        2 * found.homogeneity * found.completeness / (found.homogeneity + found.completeness)
    )
    np.testing.assert_allclose(own_shares(names, clusters, labels(0, 1)), [1, 2 / 3])


def test_one_cluster_is_complete_and_single_clusters_are_pure() -> None:
    names = labels(0, 0, 1, 1)
    whole = purity(names, labels(0, 0, 0, 0), labels(0))
    apart = purity(names, labels(0, 1, 2, 3), labels(0, 0, 1, 1))
    assert whole is not None
    assert apart is not None
    assert (whole.members, whole.homogeneity, whole.completeness) == (0.5, 0, 1)
    assert (apart.members, apart.homogeneity) == pytest.approx((1, 1))
    assert apart.completeness == pytest.approx(0.5)
    assert (whole.names_gathered, apart.names_gathered) == (1, 0)


def test_noise_gathers_nothing() -> None:
    found = purity(labels(0, 0, 1), labels(-1, -1, 0), labels(1))
    assert found is not None
    assert found.names_gathered == 0
    assert purity(labels(0, 1), labels(-1, -1), labels(0)) is None
    only = purity(labels(0, 1), labels(0, 0), labels(0))
    assert only is not None
    assert only.names_gathered is None


def test_a_prototype_without_members_has_no_share() -> None:
    shares = own_shares(labels(0), labels(0), labels(0, 5))
    assert shares[0] == 1
    assert np.isnan(shares[1])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 3)), min_size=1, max_size=30))
def test_the_order_of_members_is_of_no_account(members: list[tuple[int, int]]) -> None:
    names, clusters = (np.array(one) for one in zip(*members, strict=True))
    prototypes = labels(0, 1, 2, 3)
    found = purity(names, clusters, prototypes)
    assert found == pytest.approx(purity(names[::-1], clusters[::-1], prototypes)) or found is None
    if found is not None:
        assert 0 <= found.members <= 1
        assert 0 <= found.prototypes <= 1


def test_stability_is_one_for_clusters_that_seeds_agree_on() -> None:
    rows = np.eye(6)

    def agreed(vectors: np.ndarray, seed: int) -> np.ndarray:
        return (vectors.argmax(axis=1) // 2 + seed) % 3  # other numbers, the same clusters

    def chance(vectors: np.ndarray, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 3, len(vectors))

    assert seed_stability(rows, agreed).mean == 1
    random = seed_stability(np.ones((3000, 2)), chance, seeds=(0, 1, 2))
    assert abs(random.mean) < 0.01
    assert random.lowest <= random.mean
    assert (random.seeds, random.vectors) == (3, 3000)


def test_stability_of_two_labelings_by_hand() -> None:
    """Scikit-learn's own example: 0 0 1 1 against 0 0 1 2 has 4/7."""
    found = seed_stability(np.ones((4, 1)), lambda _, seed: labels(0, 0, 1, 1 + seed), seeds=(0, 1))
    assert found.mean == found.lowest == pytest.approx(4 / 7)


def test_the_sample_is_even_and_bounded() -> None:
    assert even_rows(10, 4).tolist() == [0, 2, 5, 7]
    assert even_rows(3, 9).tolist() == [0, 1, 2]
    assert even_rows(0, 9).tolist() == []
