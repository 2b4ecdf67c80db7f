"""The bench of reading shards, at a size of a moment."""

from pathlib import Path

import pytest

from opendet.bench.packed_shards import publish
from opendet.bench.reading import compared, costs, plain, rows_of
from opendet.shard_set import ShardSet


def test_it_measures_and_leaves_nothing(tmp_path: Path) -> None:
    told = costs(tmp_path / "work", shards=2, each=3, rounds=2)
    assert told["samples"] == 6
    assert told["bytes"] / 6 == pytest.approx(104_000, rel=0.1)
    rows = {row.metric: row for row in rows_of(told)}
    goals = [row.goal for row in rows.values() if row.goal]
    assert goals == [">= 1.5"] * 4
    assert all(float(row.value) >= 0 for row in rows.values())
    assert list((tmp_path / "work").iterdir()) == []


def test_both_readers_hand_out_the_same(tmp_path: Path) -> None:
    tar = publish(tmp_path / "made", 1, 4, (64, 48))
    ours = [ShardSet.open(tmp_path / "made").sample(index) for index in range(4)]
    theirs = list(plain([str(tar)]))
    assert [one["jpg"] for one in theirs] == [sample.content for sample in ours]
    assert [one["json"]["caption"] for one in theirs] == [one.record.caption for one in ours]
    assert len(list(compared([str(tar)]))) == 4
    content = tar.read_bytes()
    place = content.index(ours[2].content) + 100
    tar.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    assert len(list(plain([str(tar)]))) == 4, "raw webdataset notices nothing"
    with pytest.raises(ValueError, match="bench-00000002"):
        list(compared([str(tar)]))
