"""Packing keeps what it should, and lets no changed image in."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import shard_world as world

from opendet.curate.shards import (
    Packer,
    ShardsConfig,
    read_part,
    tally,
    without_refused,
    write_index,
    write_part,
)
from opendet.inspect.lint_rules import findings_in
from opendet.record import Phrase
from opendet.shards import wids_text


def test_round_trip_keeps_refused_regions_by_default(tmp_path: Path) -> None:
    samples = world.samples(5)
    assert Packer(ShardsConfig())(samples) == samples
    write_part(tmp_path, "a-000000", samples)
    assert read_part(tmp_path, "a-000000") == samples


def test_without_refused_moves_phrases_along() -> None:
    sample = world.samples(2)[1]
    kept, refused = sample.record.regions
    phrases = tuple(Phrase(0, 1, regions, world.SOURCE) for regions in [(0, 1, 2), (1,), ()])
    record = replace(sample.record, regions=(refused, kept, refused), phrases=phrases)
    leaner = without_refused(record)
    assert leaner.regions == (kept,)
    assert [phrase.regions for phrase in leaner.phrases] == [(0,), (0,), ()]
    assert without_refused(leaner) == leaner
    leaner = without_refused(sample.record)
    assert Packer(ShardsConfig(keep_refused=False))([sample]) == [replace(sample, record=leaner)]


def test_a_changed_image_is_refused() -> None:
    sample = world.samples(1)[0]
    said = f"^{sample.record.file}: the image of {sample.key} is not the one that its record names$"
    with pytest.raises(ValueError, match=said):
        Packer(ShardsConfig())([replace(sample, content=sample.content[:-1])])


def test_tally() -> None:
    samples = world.samples(8)
    assert tally(samples) == {
        "regions": 12,
        "regions.kept": 6,
        "images.without.kept.regions": 2,
        "image.bytes": sum(len(sample.content) for sample in samples),
        "lint.image.few_boxes": 8,
    }
    twice = replace(samples[1].record, regions=samples[1].record.regions * 2)
    pair = [samples[0], replace(samples[1], record=twice)]
    found = Counter(f"lint.{finding.kind}" for one in pair for finding in findings_in(one.record))
    assert len(found) > 1
    assert {name: n for name, n in tally(pair).items() if name.startswith("lint.")} == found


def test_the_wids_index_lies_beside_the_shards(tmp_path: Path) -> None:
    manifest = world.publish(tmp_path / "out", {"a-000000": world.samples(2)})
    write_index(tmp_path / "out", "übrig", manifest)
    text = (tmp_path / "out" / "index.json").read_text(encoding="utf-8")
    assert text == wids_text(tmp_path / "out", "übrig", manifest)
