"""The simulation at a size of seconds: everything is counted, a killed stage goes on."""

from pathlib import Path

import pytest

from opendet.bench import scale
from opendet.bench.harness import Place
from opendet.bench.scale_build import Size, Told


def result_of(out: int, dropped: int, *, read: int) -> dict[str, object]:
    counts = {"images_out": out, "dropped": {"unwanted": dropped}, "quarantined": 0}
    told = {"made": 5, "run_seconds": 2.0, "publish_seconds": 1.0, "counts": counts}
    run = {"until_first": 1.0, "seconds": 10.0, "commits": 5}
    return {
        "caption": {**told, "peak_gigabytes": 0.5},
        "shards": {**told, "peak_gigabytes": 2.5},
        **dict.fromkeys(("killed", "resumed", "idle"), run),
        "shard_bytes": 10_000,
        "manifest_seconds": 0.1,
        "manifest_bytes": 5000,
        "largest_bytes": 4000,
        "manifest_files": 2,
        "reader": {
            "samples": read,
            "open_seconds": 1.0,
            "read_seconds": 1.0,
            "memory_bytes": 9800,
            "gigabytes": 0.1,
        },
    }


def test_a_lost_sample_and_too_much_memory_are_said() -> None:
    size = Size(shards=10, each=10)
    rows = {row.metric: row for row in scale._rows(result_of(97, 2, read=97), size)}
    assert (rows["samples not accounted for"].value, rows["samples not accounted for"].holds) == (
        1,
        False,
    )
    assert not rows["driver's peak memory, GB"].holds
    assert rows["resume after a kill, share of the run"].value == pytest.approx(0.05)
    assert rows["resume after a kill, share of the run"].holds
    assert not rows["a run with nothing to do, share of the run"].holds
    whole = {row.metric: row for row in scale._rows(result_of(98, 2, read=98), size)}
    assert whole["samples not accounted for"].holds
    unread = {row.metric: row for row in scale._rows(result_of(98, 2, read=95), size)}
    assert unread["samples not accounted for"].value == 3


def test_answers_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "READS", 20)
    told = scale._answers(tmp_path, 100)
    assert told["disk_bytes"] > 100 * 64
    assert told["find_seconds"] > 0


@pytest.mark.slow
def test_a_killed_simulation_ends_with_all_counted(tmp_path: Path) -> None:
    size = Size(shards=120, each=10)
    result = scale.simulate(tmp_path, size)
    assert size.samples == 1200
    assert Told(**result["caption"]).counts["images_out"] == 1200 - 24
    told = Told(**result["caption"])
    assert 0 < told.made < told.counts["shards"], "the run that went on is the one that is told of"
    assert result["killed"]["commits"] < 120
    assert result["resumed"]["commits"] == 120
    assert result["reader"]["samples"] == 1200 - 24
    assert not list(tmp_path.iterdir())


def test_all_rows_come_and_units_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "simulate", lambda *_: result_of(98, 2, read=98))
    size = Size(shards=10, each=10)
    rows = [row.metric for row in scale.measure(Place(tmp_path), size, answers=100, images=100)]
    assert {"answer store: bytes an answer on disk", "duplicates: microseconds an image"} <= {*rows}
    again = Place(tmp_path)
    assert [row.metric for row in scale.measure(again, size, answers=100, images=100)] == rows
    assert again.reused == again.done == 3
