"""The bench of real text vectors: it tells where data is missing, and its rows are the card's."""

from pathlib import Path

import numpy as np
import pytest

from opendet.bench import pool_vocabularies as bench
from opendet.bench.harness import Place
from opendet.curate.prototypes import PrototypesConfig
from opendet.pools.make import make_pool


def test_without_data_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENDET_SHARED_DATA", str(tmp_path))
    place = Place(tmp_path / "work")
    [row] = bench.measure(place)
    assert (row.value, row.holds) == ("skipped", None)
    assert "lvis_v1_clip_a+cname.npy is not there: set OPENDET_SHARED_DATA" in row.detail
    assert str(tmp_path) not in row.detail
    assert place.asked == 0


def test_kittens_are_ranked_among_the_names(tmp_path: Path) -> None:
    rows = np.eye(4, dtype=np.float32)[:3]
    np.savez(tmp_path / "t.npz", rows=rows, names=np.array(["cat", "dog", "kitten"]))
    config = PrototypesConfig(coarse=3, eps=0.01, min_samples=1)
    make_pool([tmp_path / "t.npz"], [], tmp_path / "pool", config)
    photos = np.array([(0.5, 0.6, 0.4, 0), (0, 0, 0, 1), (0.1, 0.2, 0.9, 0)], np.float16)
    known = np.array(["123_456", "else", "456_123"])
    np.savez(tmp_path / "photos.npz", emb=photos, names=known)
    assert bench.kitten_ranks(tmp_path / "pool", tmp_path / "photos.npz") == [2, 1]


@pytest.mark.slow
def test_the_real_vectors_hold_the_bars(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not all(path.is_file() for path in bench.needed(shared_data)):
        pytest.skip("not all of the real vectors are there")
    monkeypatch.setenv("OPENDET_SHARED_DATA", str(shared_data))
    monkeypatch.setattr(bench, "EPS", (bench.CHOSEN,))
    rows = {row.metric: row for row in bench.measure(Place(tmp_path))}
    assert len(rows) == 10
    assert [row.metric for row in rows.values() if row.holds is False] == []
