"""Spherical K-Means: known clusters, equal bytes however the work is shared, hard cases."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from opendet.curate import spherical_kmeans as module
from opendet.curate.spherical_kmeans import Clustering, sample_sizes, spherical_kmeans
from opendet.curate.unit_products import as_units
from opendet.curate.vector_file import VectorFile
from opendet.ordered_map import map_on_threads

Doubles = NDArray[np.float64]


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several samples of several chunks of a small world."""
    monkeypatch.setattr(module, "CHUNK", 70)
    monkeypatch.setattr(module, "SMALLEST_SAMPLE", 100)
    monkeypatch.setattr(module, "VECTORS_PER_CENTRE", 5)


def filed(folder: Path, vectors: NDArray[Any]) -> VectorFile:
    vectors.astype(np.float16).tofile(folder / "vectors")
    return VectorFile(folder / "vectors", *vectors.shape)


def clouds(count: int, kinds: int, *, spread: float = 0.1, seed: int = 0) -> Doubles:
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(kinds, 16))
    middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    return middles[np.arange(count) % kinds] + rng.normal(0, spread, (count, 16))


def clustered(vectors: VectorFile, clusters: int, **changed: Any) -> Clustering:
    asked: dict[str, Any] = {"seed": 0, "restarts": 2, "map_chunks": map_on_threads}
    return spherical_kmeans(vectors, clusters, **{**asked, **changed})


@pytest.mark.usefixtures("small_steps")
def test_known_clusters_are_found(tmp_path: Path) -> None:
    found = clustered(filed(tmp_path, clouds(1000, 8, spread=0.02)), 8)
    kinds = np.arange(1000) % 8
    pairs = set(zip(found.labels.tolist(), kinds.tolist(), strict=True))
    assert len(pairs) == 8
    assert sorted({label for label, _ in pairs}) == list(range(8))


@pytest.mark.usefixtures("small_steps")
def test_any_way_to_share_the_work_gives_the_same_bytes(tmp_path: Path) -> None:
    vectors = filed(tmp_path, clouds(900, 12, spread=0.3))
    alone = clustered(vectors, 20)

    def backwards(function: Any, items: Any) -> Iterator[Any]:
        done = {place: function(items[place]) for place in reversed(range(len(items)))}
        yield from (done[place] for place in range(len(items)))

    for shared in (partial(map_on_threads, threads=3), backwards):
        other = clustered(vectors, 20, map_chunks=shared)
        assert other.labels.tobytes() == alone.labels.tobytes()
        assert other.inertia == alone.inertia
    assert clustered(vectors, 20, seed=1).labels.tobytes() != alone.labels.tobytes()


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("seed", range(3))
def test_as_tight_as_scikit_learns(tmp_path: Path, seed: int) -> None:
    vectors = filed(tmp_path, clouds(1500, 40, spread=0.15, seed=seed))
    unit = vectors.read(np.arange(1500)).astype(np.float64)
    theirs = KMeans(25, n_init=1, max_iter=20, random_state=seed).fit(unit).inertia_
    labels = clustered(vectors, 25, restarts=1, seed=seed).labels
    ours = sum(
        float(np.square(own - own.mean(axis=0)).sum())
        for own in (unit[labels == label] for label in range(25))
    )
    assert ours < 1.03 * theirs


def test_the_inertia_by_hand(tmp_path: Path) -> None:
    # the best centre of the two lies halfway: 45 degrees from each
    vectors = filed(tmp_path, np.array([[1, 0], [0, 1]]))
    assert clustered(vectors, 1).inertia == pytest.approx(2 - 2**0.5, abs=1e-5)


def test_fewer_distinct_vectors_than_clusters(tmp_path: Path) -> None:
    vectors = filed(tmp_path, np.repeat(np.eye(3), 5, axis=0))
    found = clustered(vectors, 10)
    assert found.inertia == pytest.approx(0, abs=1e-6)
    assert len(set(found.labels.tolist())) == 3
    assert found.labels.reshape(3, 5).std(axis=1).max() == 0


def test_one_vector(tmp_path: Path) -> None:
    assert clustered(filed(tmp_path, np.eye(4)[:1]), 5).labels.tolist() == [0]


def test_each_sample_has_twice_the_last_one_s_vectors() -> None:
    assert sample_sizes(5, 64) == [5]
    assert sample_sizes(12_287, 64) == [12_287]
    assert sample_sizes(12_288, 64) == [8192, 12_288]
    assert sample_sizes(20_000, 64) == [8192, 20_000]
    assert sample_sizes(1_000_000, 1203) == [57_744, 115_488, 230_976, 461_952, 1_000_000]


def test_an_empty_centre_moves_to_the_farthest_vector(tmp_path: Path) -> None:
    unit = as_units(np.array([[1, 0.1, 0], [1, -0.1, 0], [1, 0, 2]]))
    vectors = filed(tmp_path, unit)
    centres = as_units(np.array([[1.0, 0, 0], [-1, 0, 0]]))
    look = module._Look(vectors, map_on_threads, "cpu")
    rows = np.arange(3)
    moved = module._moved(look, rows, centres, look(rows, centres))
    np.testing.assert_allclose(moved[0], as_units(unit.sum(axis=0)[None])[0], atol=1e-3)
    np.testing.assert_allclose(moved[1], unit[2], atol=1e-3)


def test_the_cheapest_centres_to_spare_leave_their_neighbours(tmp_path: Path) -> None:
    degrees = np.radians([0, 4, 90, 96, 200])
    middles = np.stack((np.cos(degrees), np.sin(degrees)), axis=1)
    vectors = filed(tmp_path, np.repeat(middles, [9, 9, 9, 9, 1], axis=0))
    look = module._Look(vectors, map_on_threads, "cpu")
    centres = as_units(middles)
    settled = module._Settled(centres, look(np.arange(37), centres))
    first, second = module._spare(settled, 2).tolist()
    assert first in (0, 1)
    assert second in (2, 3)
    assert len(module._spare(settled, 5)) <= 3, "one of each two stays"
