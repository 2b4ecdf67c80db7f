"""A folder of shards is read by its manifest, verified once, and reached at any place."""

import gc
import multiprocessing
import os
import pickle
import random
import re
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shard_world as world

from opendet import shard_set
from opendet.manifest import FileStamp, Manifest, commit_text, read_manifest, write_manifest
from opendet.shard_notes import Notes, NoteStore, ShardLook, hash_and_note
from opendet.shard_reader import shard_entries
from opendet.shard_set import ShardSet, check_file, part_files, verify_share


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
    forge(index, manifest, "\n".join(lines) + "\n")
    with pytest.raises(ValueError, match="lets members overlap"):
        ShardSet.open(tmp_path / "out")


def forge(index: Path, manifest: Path, text: str) -> None:
    """Write an index anew, and let the manifest say that this is it."""
    before = FileStamp.of(index)
    index.write_text(text)
    now = FileStamp.of(index)
    told = manifest.read_text().replace(before.sha256, now.sha256)
    manifest.write_text(told.replace(f'"bytes": {before.bytes}', f'"bytes": {now.bytes}'))


def test_a_record_of_another_key_is_no_record_of_this_one(tmp_path: Path) -> None:
    world.small_build(tmp_path / "out", shards=1)
    index, manifest = (tmp_path / "out" / name for name in ("a-000000.idx", "manifest.json"))
    forge(index, manifest, index.read_text().replace("a-0001", "b-0001"))
    shards = ShardSet.open(tmp_path / "out")
    assert shards.keys[1] == "b-0001"
    said = f"^{index.with_suffix('.tar')}: b-0001.json is the record of 'a-0001'$"
    for read in (shards.sample, shards.record):
        with pytest.raises(ValueError, match=said):
            read(1)


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
    first, second = world.samples(2)
    world.publish(tmp_path / "last", {"a-000000": [first, second], "a-000001": [second]})
    said = f"^{tmp_path / 'last'}: key 'a-0001' comes twice: build the stage again$"
    with pytest.raises(ValueError, match=said):
        ShardSet.open(tmp_path / "last")


def test_an_empty_shard_is_of_the_same_types(tmp_path: Path) -> None:
    world.publish(tmp_path / "out", {"a-000000": [], "a-000001": world.samples(2)})
    for shard, count in zip(ShardSet.open(tmp_path / "out").shards, (0, 2), strict=True):
        assert (shard.spans.shape, shard.spans.dtype) == ((count, 4), np.dtype(np.int64))
        assert (shard.notes.shape, shard.notes.dtype) == ((count, 2), np.dtype(np.uint64))
        assert (shard.keys.shape, shard.keys.dtype.kind) == ((count,), "S")


def test_shards_are_verified_on_all_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world.small_build(tmp_path / "out")
    asked: list[int] = []

    def told(function: Any, items: Any, *, threads: int = 0) -> Any:
        asked.append(threads)
        return map(function, items)

    monkeypatch.setattr(shard_set, "map_on_threads", told)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7})
    assert len(ShardSet.open(tmp_path / "out")) == 15
    assert asked == [3]


def test_a_file_that_ends_too_early_is_named(tmp_path: Path) -> None:
    world.small_build(tmp_path / "out", shards=1)
    [shard] = ShardSet.open(tmp_path / "out").shards
    member = replace(shard.entry(0).image, offset=1 << 30)
    with pytest.raises(ValueError, match=f"^{shard.path}: {member.name} is cut off$"):
        shard_set._undamaged(shard, shard_set._Descriptor(shard.path), member, shard.notes[0, 0])


@pytest.mark.parametrize("name", ["../secret", "/etc/secret", "a/b"])
def test_a_manifest_cannot_point_outside(tmp_path: Path, name: str) -> None:
    world.small_build(tmp_path / "out")
    manifest = tmp_path / "out" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("a-000000", name))
    with pytest.raises(ValueError, match="is no part of packed shards"):
        ShardSet.open(tmp_path / "out")


def test_the_sample_that_is_asked_for_and_no_other(tmp_path: Path) -> None:
    samples = world.small_build(tmp_path / "out", shards=3, each=2)
    shards = ShardSet.open(tmp_path / "out")
    assert [shard.bytes for shard in shards.shards] == [
        (tmp_path / "out" / f"a-00000{number}.tar").stat().st_size for number in range(3)
    ]
    assert [shards.sample(index).key for index in range(6)] == [one.key for one in samples]
    for outside in (-1, 6):
        for read in (shards.sample, shards.record):
            with pytest.raises(IndexError, match=f"^sample {outside} of 6$"):
                read(outside)


def test_what_it_refuses_is_said_in_one_line(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def said() -> str:
        with pytest.raises(ValueError, match=f"^{re.escape(str(out))}") as raised:
            ShardSet.open(out, split="train")
        return str(raised.value).removeprefix(str(out))

    world.small_build(out)
    with pytest.raises(
        ValueError, match=r"has no shard of the split 'test': it has train; ask for one of them"
    ):
        ShardSet.open(out, split="test")
    index, tar = out / "a-000001.idx", out / "a-000002.tar"
    content, whole = index.read_bytes(), tar.read_bytes()
    for path, damage, told in (
        (index, None, " is missing: restore it, or build the stage again"),
        (index, content + b"x", f" is damaged: {len(content) + 1} bytes instead of {len(content)}"),
        (index, content.swapcase(), " is damaged: its sha256 is not the manifest's"),
        (tar, None, " is missing: restore it, or build the stage again"),
        (tar, whole[:-1], f" is damaged: {len(whole) - 1} bytes instead of {len(whole)}"),
        (tar, whole[:-1] + b"x", " is damaged: its sha256 is not the manifest's"),
    ):
        before = path.read_bytes()
        path.unlink()
        if damage is not None:
            path.write_bytes(damage)
        assert said() == f"/{path.name}{told}"
        path.write_bytes(before)
    recounted(out, 1, 6)
    assert said() == "/a-000001.tar: 5 samples, the manifest says 6"


def recounted(folder: Path, number: int, count: int) -> None:
    """Let the manifest say that a shard has so many samples."""
    parts = list(read_manifest(folder).parts)
    parts[number] = replace(parts[number], samples_in=count, samples_out=count)
    (folder / f"{parts[number].shard.name}.json").write_text(commit_text(parts[number]))
    write_manifest(folder, Manifest("shards", "toy", tuple(parts)))


def test_a_file_is_checked_by_its_size_and_then_by_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    stamp = FileStamp.of(path)
    check_file(path, stamp)
    with pytest.raises(ValueError, match=r"x is damaged: its sha256 is not the manifest's$"):
        check_file(path, replace(stamp, sha256="0" * 64))
    monkeypatch.setattr(shard_set, "sha256_of", None)
    with pytest.raises(ValueError, match=r"x is damaged: 3 bytes instead of 4$"):
        check_file(path, replace(stamp, bytes=4))


def test_a_shard_s_part_is_a_tar_and_its_index(tmp_path: Path) -> None:
    [part] = world.publish(tmp_path / "out", {"a-000000": world.samples(1)}).parts
    assert part_files(tmp_path, part) == part.files
    tar, index = (part.files[f"a-000000.{end}"] for end in ("tar", "idx"))
    long = "n" * 91
    for name, files in (
        ("a-000000", {"a-000000.tar": tar}),
        ("a-000000", {**part.files, "more": tar}),
        ("a-000001", part.files),
        (long, {f"{long}.tar": tar, f"{long}.idx": index}),
    ):
        odd = replace(part, shard=replace(part.shard, name=name), files=files)
        said = f"^{tmp_path}: {name!r} is no part of packed shards: its files differ$"
        with pytest.raises(ValueError, match=said):
            part_files(tmp_path, odd)
    odd = replace(part, shard=replace(part.shard, name="n" * 200))
    with pytest.raises(ValueError, match=f"^{tmp_path}: '{'n' * 120}' is no part"):
        part_files(tmp_path, odd)


def test_a_change_of_size_alone_or_of_time_alone_is_noticed(tmp_path: Path) -> None:
    world.small_build(tmp_path / "out", shards=1)
    shards = ShardSet.open(tmp_path / "out")
    [shard] = shards.shards
    shard.require_unchanged()
    changed = f"^{shard.path} was changed while it was in use: start again$"
    content = shard.path.read_bytes()
    shard.path.write_bytes(content + b"x")
    os.utime(shard.path, ns=(shard.mtime_ns, shard.mtime_ns))
    with pytest.raises(ValueError, match=changed):
        shards.record(0)
    shard.path.write_bytes(content)
    os.utime(shard.path, ns=(shard.mtime_ns, shard.mtime_ns + 1000))
    with pytest.raises(ValueError, match=changed):
        shards.sample(0)
    os.utime(shard.path, ns=(shard.mtime_ns, shard.mtime_ns))
    assert shards.sample(0)
    shard.path.unlink()
    with pytest.raises(ValueError, match=f"^{shard.path} went away while it was in use$"):
        shards.sample(0)


def test_a_file_that_cannot_be_opened_leaves_no_descriptor(tmp_path: Path) -> None:
    before = descriptors()
    with pytest.raises(FileNotFoundError):
        shard_set._Descriptor(tmp_path / "gone")
    gc.collect()  # an error in `__del__` would be raised by pytest
    (tmp_path / "x").write_bytes(b"x")
    one = shard_set._Descriptor(tmp_path / "x")
    assert os.pread(one.fileno(), 9, 0) == b"x"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(one.fileno(), b"y")
    assert descriptors() == before + 1
    del one
    assert descriptors() == before


def test_notes_of_other_samples_are_no_notes(tmp_path: Path) -> None:
    """The index may be another while the tar file is the same: its hash is part of what they are
    true of. Notes of another number are never taken."""
    world.small_build(tmp_path / "out", shards=1)
    kept = NoteStore(tmp_path / "kept")
    [shard] = ShardSet.open(tmp_path / "out", kept=kept).shards
    stamps = read_manifest(tmp_path / "out").parts[0].files
    look = ShardLook(
        stamps["a-000000.tar"].sha256, stamps["a-000000.idx"].sha256, shard.bytes, shard.mtime_ns
    )
    notes = kept.read(look)
    assert notes is not None
    assert notes.tolist() == shard.notes.tolist()
    kept.write(look, notes[:-1])
    [shard] = ShardSet.open(tmp_path / "out", kept=kept).shards
    assert shard.notes.tolist() == notes.tolist()
    read = kept.read(look)
    assert read is not None
    assert read.tolist() == notes.tolist(), "and the right ones were put there"


def test_a_share_is_each_so_manyth_shard_of_the_split(tmp_path: Path) -> None:
    parts = {
        **{f"a-{n:06d}": world.samples(1, batch=f"a{n}") for n in range(5)},
        "b-000000": world.samples(2, batch="b", split="val"),
    }
    world.publish(tmp_path / "out", parts)
    for share, count in ((0, 3), (1, 2)):
        kept = NoteStore(tmp_path / f"kept-{share}")
        verify_share(tmp_path / "out", split="train", kept=kept, share=share, shares=2)
        assert sum(path.is_file() for path in kept.folder.rglob("*")) == count
    everything = NoteStore(tmp_path / "all")
    verify_share(tmp_path / "out", split=None, kept=everything, share=0, shares=1)
    assert sum(path.is_file() for path in everything.folder.rglob("*")) == 6
