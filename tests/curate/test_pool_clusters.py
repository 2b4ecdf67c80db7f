"""Both levels of a pool: which dense spots are kept, and what is done where there are too few."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from opendet.curate.pool_clusters import Clusters, cluster, rows_by_label
from opendet.curate.vector_file import VectorFile
from opendet.ordered_map import map_on_threads


def found(folder: Path, vectors: NDArray[Any], **changed: Any) -> Clusters:
    vectors.astype(np.float16).tofile(folder / "vectors")
    asked: dict[str, Any] = {
        "coarse": 1,
        "restarts": 1,
        "fine": None,
        "eps": 0.01,
        "min_samples": 3,
        "seed": 0,
        **changed,
    }
    file = VectorFile(folder / "vectors", *vectors.shape)
    return cluster(file, map_chunks=map_on_threads, **asked)


def spots(*sizes: int, width: int = 8) -> NDArray[np.float64]:
    """So many copies of each axis."""
    return np.repeat(np.eye(width)[: len(sizes)], sizes, axis=0)


def test_rows_by_label() -> None:
    rows = rows_by_label(np.array([1, 0, 1, 2], np.int32))
    assert [own.tolist() for own in rows] == [[1], [0, 2], [3]]


def test_the_largest_spots_are_kept_in_their_order(tmp_path: Path) -> None:
    vectors = spots(4, 3, 5, 4, 2)
    both = found(tmp_path, vectors)
    assert ([one.size for one in both.fine], both.found, both.noise) == ([4, 3, 5, 4], 4, 2)
    kept = found(tmp_path, vectors, fine=2)
    # the largest, and of the two of four the first
    assert [one.size for one in kept.fine] == [4, 5]
    assert kept.fine_of.tolist() == [0] * 4 + [-1] * 3 + [1] * 5 + [-1] * 4 + [-1] * 2
    assert (kept.found, kept.noise, kept.rounds, kept.eps) == (4, 2, 0, 0.01)


def test_a_cluster_by_hand(tmp_path: Path) -> None:
    [one] = found(tmp_path, np.array([[4.0, 3], [1, 0], [4, -3]]), eps=0.5).fine
    np.testing.assert_allclose(one.centre, [1, 0], atol=1e-3)
    assert (one.medoid, one.size, one.parent) == (1, 3, 0)


def test_too_few_spots_are_looked_for_in_a_smaller_neighbourhood(tmp_path: Path) -> None:
    degrees = np.radians([0, 0, 0, 20, 20, 20])
    vectors = np.stack((np.cos(degrees), np.sin(degrees)), axis=1)
    distance = 1 - np.cos(np.radians(20))  # 0.0603: eps must fall from 0.08 below it
    one = found(tmp_path, vectors, eps=0.08)
    assert (len(one.fine), one.rounds) == (1, 0)
    two = found(tmp_path, vectors, eps=0.08, fine=2)
    assert (len(two.fine), two.rounds) == (2, 3)
    assert two.eps == pytest.approx(0.08 * 0.9**3)
    assert two.eps < distance < 0.08 * 0.9**2


def test_where_no_round_has_enough_the_first_with_the_most_counts(tmp_path: Path) -> None:
    few = found(tmp_path, spots(4, 4), fine=9)
    assert (len(few.fine), few.rounds, few.eps) == (2, 0, 0.01)


def test_auto_eps_is_each_cluster_s_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tight = np.eye(8)[0] + rng.normal(0, 0.01, (30, 8))
    wide = np.eye(8)[1] + rng.normal(0, 0.1, (30, 8))
    both = found(tmp_path, np.concatenate((tight, wide)), coarse=2, eps="auto")
    assert len(both.coarse) == 2
    assert {one.parent for one in both.fine} == {0, 1}
    assert both.noise < 20
    assert 0 < both.eps < 0.1


def test_of_vectors_that_cancel_out_the_first_stands_for_all(tmp_path: Path) -> None:
    [one] = found(tmp_path, np.array([[0.0, 1], [0, -1]])).coarse
    np.testing.assert_array_equal(one.centre, [0, 1])
