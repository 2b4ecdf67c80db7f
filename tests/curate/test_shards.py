"""Packing keeps what it should, and lets no changed image in."""

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
    write_part,
)
from opendet.record import Phrase


def test_round_trip_keeps_refused_regions_by_default(tmp_path: Path) -> None:
    samples = world.samples(5)
    packed = Packer(ShardsConfig())(samples)
    assert packed == samples
    write_part(tmp_path, "a-000000", packed)
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
    [packed] = Packer(ShardsConfig(keep_refused=False))([sample])
    assert packed.record == without_refused(sample.record)


def test_a_changed_image_is_refused() -> None:
    sample = world.samples(1)[0]
    with pytest.raises(ValueError, match="not the one that its record names"):
        Packer(ShardsConfig())([replace(sample, content=sample.content[:-1])])


def test_tally() -> None:
    counts = tally(world.samples(8))
    assert counts["regions"] == 12
    assert counts["regions.kept"] == 6
    assert counts["images.without.kept.regions"] == 2
