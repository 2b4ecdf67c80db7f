"""Numbers of a build: they add up, and say the same as the records."""

import json
from pathlib import Path

from opendet.build import Build
from opendet.inspect.stats import build_stats, record_stats, size_of
from opendet.record import Provenance, Record, Region
from opendet.stage_order import DATA_STAGES, SAMPLE_STAGES
from tests.cli_world import run_cli

SOURCE = Provenance("source")


def record(key: str, caption: str, *boxes: tuple[float, float, float, float]) -> Record:
    regions = tuple(Region(box, SOURCE, names=("cat", "pet")) for box in boxes)
    return Record(
        *(key, "s", "b", "train", "MIT", "f", "jpg", 1, "0", 300, 300),
        caption=caption,
        regions=regions,
    )


def test_the_ledger_of_a_build(finished: Path) -> None:
    stats = build_stats(Build.open(root=finished))
    assert tuple(stage.stage for stage in stats.stages) == DATA_STAGES
    for stage in stats.stages:
        gone = sum(stage.dropped.values()) + stage.quarantined
        assert stage.samples_in == stage.samples_out + gone
        assert stage.samples_in == (6 if stage.stage in SAMPLE_STAGES else 0)
        assert stage.seconds is not None
    by_name = {stage.stage: stage for stage in stats.stages}
    assert by_name["filter"].refused == {"too small": 6}
    assert not any("refused" in name for name in by_name["filter"].counted)
    assert stats.records is not None
    assert (stats.records.stage, stats.records.images) == ("filter", 6)
    assert (stats.records.regions, stats.records.kept) == (12, 6)
    assert stats.records.names == {"cat": 2, "dog": 2, "red car": 2}


def test_records_counted_by_hand() -> None:
    wide = (0.0, 0.0, 300.0, 300.0)
    records = [
        record("a", "one two three", (0, 0, 10, 10), wide),
        record("b", "one", (0, 0, 32, 32)),
        record("c", ""),
    ]
    stats = record_stats("describe", records)
    assert (stats.images, stats.regions, stats.kept) == (3, 3, 3)
    assert stats.boxes == {"small": 1, "medium": 1, "large": 1}
    assert stats.caption_words == (1, 2, 3)
    assert stats.without_caption == 1
    assert (stats.names, stats.distinct_names) == ({"cat": 3}, 1)
    assert record_stats("source", []).caption_words == (0, 0, 0)


def test_sizes_are_cocos() -> None:
    assert size_of((0, 0, 31.9, 32)) == "small"
    assert size_of((0, 0, 96, 96)) == "medium"
    assert size_of((0, 0, 96, 96.1)) == "large"


def test_the_table_and_the_json(finished: Path) -> None:
    shown = run_cli(finished, "data", "stats")
    assert shown.code == 0
    for said in ("too small 6", "red car 2", "records of filter: 6 images"):
        assert said in shown.out
    value = json.loads(run_cli(finished, "data", "stats", "--json").out)
    assert value["build"] == "tiny"
    assert value["records"]["boxes"] == {"small": 11, "medium": 1, "large": 0}


def test_damage_is_one_line(project: Path) -> None:
    (project / "datasets/tiny/metrics/filter.json").write_text("[]")
    ended = run_cli(project, "data", "stats")
    assert ended.code == 1
    assert "filter.json is damaged" in ended.line
