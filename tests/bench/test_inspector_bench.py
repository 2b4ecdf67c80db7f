"""The inspector's bench: on a tiny set its numbers are there and hold together."""

from pathlib import Path

import pytest

from opendet.bench.inspector import rows_of, waits


@pytest.mark.slow
def test_it_measures_and_takes_everything_away(tmp_path: Path) -> None:
    told = waits(tmp_path / "made", large=20, shards=(2, 10))
    assert told["samples"] == 20
    assert told["indexed_s"] > 0
    assert told["walked_s"] > 0
    assert told["summary_s"] > 0
    assert told["pages_rate"] > 0
    assert not (tmp_path / "made").exists()
    goals = {row.metric.split(" of ")[0]: row.holds for row in rows_of(told)}
    assert len(goals) == 4


def test_rows_judge_by_the_goals() -> None:
    told = {
        "large_gb": 1.1,
        "many_gb": 1.5,
        "cores": 2.0,
        "samples": 1e5,
        "interpreter_s": 0.02,
        "indexed_s": 0.9,
        "walked_s": 1.1,
        "summary_s": 19.0,
        "pages_rate": 199.0,
    }
    rows = list(rows_of(told))
    assert [row.holds for row in rows] == [True, False, True, False]
    assert rows[2].metric == "summary of 100000 samples, s"
