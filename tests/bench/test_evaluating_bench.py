"""The bench of the evaluator, at a size of a moment."""

import pytest

from opendet.bench.evaluating import costs, rows_of

pytest.importorskip("pycocotools", reason="pip install pycocotools")


def test_it_measures_and_both_count_the_same() -> None:
    rows = list(rows_of(costs(images=20, rounds=1)))
    assert [row.goal for row in rows] == [">= 4", "<= 0", "", ""]
    assert rows[1].holds
    assert float(rows[0].value) > 0
    assert "AP 0." in rows[1].detail
