"""A folder of shards is read by its manifest, verified once, and reached at any place."""

import os
import pickle
from pathlib import Path

import pytest
import shard_world as world

from opendet import shard_set
from opendet.shard_set import ShardSet


def test_random_access_in_the_manifest_s_order(tmp_path: Path) -> None:
    samples = world.small_build(tmp_path / "out")
    shards = ShardSet.open(tmp_path / "out")
    assert shards.keys == [sample.key for sample in samples]
    for index in reversed(range(len(samples))):
        assert shards.sample(index) == samples[index]
        assert shards.record(index) == samples[index].record
    for outside in (-1, len(samples)):
        with pytest.raises(IndexError):
            shards.sample(outside)


def test_splits_and_empty_shards(tmp_path: Path) -> None:
    parts = {
        "a-000000": world.samples(3),
        "a-000001": [],
        "b-000000": world.samples(2, batch="b", split="val"),
    }
    world.publish(tmp_path / "out", parts)
    assert len(ShardSet.open(tmp_path / "out")) == 5
    assert len(ShardSet.open(tmp_path / "out", split="train")) == 3
    validation = ShardSet.open(tmp_path / "out", split="val")
    assert validation.keys == ["b-0000", "b-0001"]
    assert validation.sample(1) == parts["b-000000"][1]
    with pytest.raises(ValueError, match="no shard of the split 'test'"):
        ShardSet.open(tmp_path / "out", split="test")


def test_it_never_globs(tmp_path: Path) -> None:
    world.small_build(tmp_path / "out")
    (tmp_path / "out" / "a-000099.tar").write_bytes(b"rubbish")
    assert len(ShardSet.open(tmp_path / "out")) == 15


def test_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world.small_build(tmp_path / "out")
    hashed: list[Path] = []

    def counting(path: Path) -> str:
        hashed.append(path)
        return original(path)

    original = shard_set.sha256_of
    monkeypatch.setattr(shard_set, "sha256_of", counting)
    shards = ShardSet.open(tmp_path / "out")
    assert len(hashed) == len(set(hashed)) == 6
    for _ in range(2):
        for index in range(len(shards)):
            pickle.loads(pickle.dumps(shards)).sample(index)
    assert len(hashed) == 6


def test_a_change_while_in_use_is_noticed(tmp_path: Path) -> None:
    world.small_build(tmp_path / "out")
    shards = ShardSet.open(tmp_path / "out")
    tar = tmp_path / "out" / "a-000000.tar"
    os.utime(tar, ns=(1, 1))
    with pytest.raises(ValueError, match="was changed while it was in use"):
        shards.sample(0)
    tar.unlink()
    with pytest.raises(ValueError, match="went away"):
        shards.sample(0)


def test_a_key_in_two_shards(tmp_path: Path) -> None:
    world.publish(tmp_path / "out", {"a-000000": world.samples(2), "a-000001": world.samples(1)})
    with pytest.raises(ValueError, match="'a-0000' comes twice"):
        ShardSet.open(tmp_path / "out")


@pytest.mark.parametrize("name", ["../secret", "/etc/secret", "a/b"])
def test_a_manifest_cannot_point_outside(tmp_path: Path, name: str) -> None:
    world.small_build(tmp_path / "out")
    manifest = tmp_path / "out" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("a-000000", name))
    with pytest.raises(ValueError, match="is no part of packed shards"):
        ShardSet.open(tmp_path / "out")
