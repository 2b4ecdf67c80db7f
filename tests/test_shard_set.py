"""A folder of shards is read by its manifest, verified once, and reached at any place."""

import multiprocessing
import os
import pickle
import random
import re
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import shard_world as world

from opendet import shard_set
from opendet.manifest import FileStamp
from opendet.shard_notes import Notes, hash_and_note
from opendet.shard_reader import shard_entries
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

    def counting(path: Path, *others: Any) -> tuple[str, Notes]:
        hashed.append(path)
        return hash_and_note(path, *others)

    monkeypatch.setattr(shard_set, "hash_and_note", counting)
    shards = ShardSet.open(tmp_path / "out")
    assert len(hashed) == len(set(hashed)) == 3
    for _ in range(2):
        for index in range(len(shards)):
            pickle.loads(pickle.dumps(shards)).sample(index)
    assert len(hashed) == 3


@pytest.mark.parametrize("extension", ["png", "json"])
def test_damage_after_the_opening_is_noticed(tmp_path: Path, extension: str) -> None:
    """A bit that flips on the disk leaves size and time as they were."""
    samples = world.samples(3)
    world.publish(tmp_path / "out", {"a-000000": samples})
    shards = ShardSet.open(tmp_path / "out")
    tar = tmp_path / "out" / "a-000000.tar"
    entry = next(one for one in shard_entries(tar) if one.key == "a-0001")
    member = {"json": entry.record}.get(extension, entry.image)
    flip(tar, member.offset + member.size // 2)
    with pytest.raises(ValueError, match=rf"{member.name} was damaged after it had been verified"):
        shards.sample(1)
    assert shards.sample(0) == samples[0]
    assert shards.sample(2) == samples[2]
    if extension == "json":
        with pytest.raises(ValueError, match="was damaged after"):
            shards.record(1)


def test_damage_between_the_members_is_noticed_when_it_opens(tmp_path: Path) -> None:
    world.small_build(tmp_path / "out")
    tar = tmp_path / "out" / "a-000001.tar"
    for place in (tar.stat().st_size - 1, 200):  # the tar's own end, a header
        flip(tar, place)
        with pytest.raises(ValueError, match="its sha256 is not the manifest's"):
            ShardSet.open(tmp_path / "out")
        flip(tar, place)
    ShardSet.open(tmp_path / "out")


def test_an_index_of_overlapping_members_is_refused(tmp_path: Path) -> None:
    """Hashes are right, the index lies: no image may be handed out as a record, or twice."""
    world.small_build(tmp_path / "out", shards=1)
    index, manifest = (tmp_path / "out" / name for name in ("a-000000.idx", "manifest.json"))
    lines = index.read_text().splitlines()
    lines[2] = re.sub(r" \d+ ", " 512 ", lines[2], count=1)
    before = FileStamp.of(index)
    index.write_text("\n".join(lines) + "\n")
    now = FileStamp.of(index)
    text = manifest.read_text().replace(before.sha256, now.sha256)
    manifest.write_text(text.replace(f'"bytes": {before.bytes}', f'"bytes": {now.bytes}'))
    with pytest.raises(ValueError, match="lets members overlap"):
        ShardSet.open(tmp_path / "out")


def test_descriptors_are_few_and_shared_with_forked_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_set, "OPEN_SHARDS", 2)
    samples = world.small_build(tmp_path / "out", shards=4, each=2)
    before = descriptors()
    shards = ShardSet.open(tmp_path / "out")
    assert descriptors() == before, "opening keeps none"
    assert [shards.sample(index) for index in range(8)] == samples
    assert descriptors() == before + 2
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as processes:
        orders = [list(range(8)), list(reversed(range(8)))] * 4
        for order, read in zip(
            orders, processes.map(partial(_keys_read, shards), orders), strict=True
        ):
            assert read == [samples[index].key for index in order]
    assert [shards.sample(index) for index in range(8)] == samples
    del shards
    assert descriptors() == before


def test_threads_share_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard that one thread evicts may be read by another at that moment."""
    monkeypatch.setattr(shard_set, "OPEN_SHARDS", 1)
    samples = world.small_build(tmp_path / "out", shards=4, each=2)
    shards = ShardSet.open(tmp_path / "out")
    order = [random.Random(0).randrange(8) for _ in range(400)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(shards.sample, order)) == [samples[index] for index in order]


def descriptors() -> int:
    """Open in this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def flip(path: Path, place: int) -> None:
    """Turn one bit over, and leave the file's time as it was."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(place)
        [byte] = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _keys_read(shards: ShardSet, order: list[int]) -> list[str]:
    return [shards.sample(index).key for index in order]


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
