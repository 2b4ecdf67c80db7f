"""The bench of random access, at a size of a moment."""

from pathlib import Path

import pytest

from opendet.bench.random_access import costs, rows_of

pytest.importorskip("datasets", reason="pip install datasets")


def test_it_measures_and_leaves_nothing(tmp_path: Path) -> None:
    told = costs(tmp_path / "work", shards=2, each=3, rounds=2)
    rows = list(rows_of(told))
    assert [row.goal for row in rows] == [">= 2", ">= 2", "", ""]
    assert all(float(row.value) >= 0 for row in rows)
    assert list((tmp_path / "work").iterdir()) == []
