"""Notes that last: a shard is hashed once for all starts and ranks, and no damage slips through."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shard_world as world
import xxhash

from opendet import shard_notes, shard_set
from opendet.files import sha256_of
from opendet.shard_notes import Notes, NoteStore, ShardLook, hash_and_note
from opendet.shard_reader import Entry, shard_entries
from opendet.shard_set import ShardSet, verify_share
from opendet.shards import Member


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tar files that were hashed, by name."""
    names: list[str] = []

    def counting(path: Path, *others: Any) -> tuple[str, Notes]:
        names.append(path.name)
        return hash_and_note(path, *others)

    monkeypatch.setattr(shard_set, "hash_and_note", counting)
    return names


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """Three shards: `a-000000` to `a-000002`."""
    world.small_build(tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def kept(tmp_path: Path) -> NoteStore:
    return NoteStore(tmp_path / "verified")


def test_a_second_start_hashes_nothing(built: Path, kept: NoteStore, hashed: list[str]) -> None:
    first = ShardSet.open(built, kept=kept)
    assert len(hashed) == 3
    again = ShardSet.open(built, kept=kept)
    assert len(hashed) == 3
    for one, other in zip(first.shards, again.shards, strict=True):
        np.testing.assert_array_equal(one.notes, other.notes)
        assert one.notes.dtype == other.notes.dtype
    assert [again.sample(i) for i in range(15)] == [first.sample(i) for i in range(15)]


def test_a_split_s_notes_serve_the_whole_set(kept: NoteStore, tmp_path: Path) -> None:
    parts = {
        "a-000000": world.samples(3),
        "a-000001": [],
        "b-000000": world.samples(2, batch="b", split="val"),
    }
    world.publish(tmp_path / "out", parts)
    for split, count in (("train", 3), (None, 5), (None, 5)):
        assert len(ShardSet.open(tmp_path / "out", split=split, kept=kept)) == count


def test_a_shard_that_looks_otherwise_is_hashed_again(
    built: Path, kept: NoteStore, hashed: list[str]
) -> None:
    ShardSet.open(built, kept=kept)
    hashed.clear()
    os.utime(built / "a-000001.tar", ns=(1, 1))
    ShardSet.open(built, kept=kept)
    assert hashed == ["a-000001.tar"]
    tar = built / "a-000002.tar"
    damage(tar, tar.stat().st_size // 2)
    with pytest.raises(ValueError, match=r"a-000002\.tar is damaged: its sha256 is not"):
        ShardSet.open(built, kept=kept)


def test_damage_that_changes_no_time_is_noticed_where_it_is_read(
    built: Path, kept: NoteStore
) -> None:
    whole = ShardSet.open(built, kept=kept)
    tar = built / "a-000000.tar"
    then = tar.stat()
    entry = list(shard_entries(tar))[1]
    damage(tar, entry.image.offset + entry.image.size // 2)
    os.utime(tar, ns=(then.st_atime_ns, then.st_mtime_ns))
    again = ShardSet.open(built, kept=kept)
    with pytest.raises(ValueError, match=rf"{entry.image.name} was damaged after"):
        again.sample(1)
    assert again.sample(2).content == whole.sample(2).content


@pytest.mark.parametrize("place", [0, 20, -1])
def test_damaged_notes_are_no_notes(
    built: Path, kept: NoteStore, hashed: list[str], place: int
) -> None:
    ShardSet.open(built, kept=kept)
    hashed.clear()
    for path in kept.folder.rglob("*"):
        if path.is_file():
            damage(path, place % path.stat().st_size)
    assert ShardSet.open(built, kept=kept).sample(0)
    assert len(hashed) == 3, "and they were written anew"
    ShardSet.open(built, kept=kept)
    assert len(hashed) == 3


def test_notes_cut_short_are_no_notes(kept: NoteStore) -> None:
    look = ShardLook("ab" * 32, "cd" * 32, 10240, 5)
    notes = np.arange(8, dtype=np.uint64).reshape(4, 2)
    kept.write(look, notes)
    [path] = [path for path in kept.folder.rglob("*") if path.is_file()]
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        assert kept.read(look) is None
    path.write_bytes(content)
    found = kept.read(look)
    assert found is not None
    np.testing.assert_array_equal(found, notes)


def test_notes_lie_where_and_as_they_always_did(kept: NoteStore) -> None:
    """A later version, and another machine that sees the folder, find them again."""
    kept.write(ShardLook("ab" * 32, "cd" * 32, 10240, 5), np.array([[1, 2]], dtype=np.uint64))
    [path] = [path for path in kept.folder.rglob("*") if path.is_file()]
    assert path == kept.folder / "ab" / ("ab" * 32)
    body = b"cd" * 32 + b" 10240 5\n" + bytes([1, *bytes(7), 2, *bytes(7)])
    seal = xxhash.xxh3_64_intdigest(body).to_bytes(8, "little")
    assert path.read_bytes() == seal + body


def test_all_bytes_are_hashed_and_each_member_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the index tells: members may touch, or be empty, but not overlap."""
    path = tmp_path / "x.tar"
    path.write_bytes(b"0123456789abcdef")
    monkeypatch.setattr(shard_notes, "_CHUNK", 3)

    def noted(*members: tuple[int, int]) -> str:
        image, record = (
            Member("a", end, *place) for end, place in zip(("png", "json"), members, strict=True)
        )
        with path.open("rb") as file:
            digest, notes = hash_and_note(path, file, 16, [Entry(image, record)])
        assert notes.dtype == np.uint64
        content = path.read_bytes()
        parts = [content[offset:][:size] for offset, size in members]
        assert notes.tolist() == [[xxhash.xxh3_64_intdigest(part) for part in parts]]
        return digest

    whole = sha256_of(path)
    for members in (((1, 4), (9, 4)), ((9, 7), (0, 5)), ((4, 4), (8, 2)), ((5, 0), (5, 0))):
        assert noted(*members) == whole
    with pytest.raises(ValueError, match=f"^{path}: its .idx lets members overlap at a.json$"):
        noted((1, 4), (4, 4))
    with pytest.raises(ValueError, match=f"^{path}: a.json is cut off$"):
        noted((1, 4), (12, 5))


def test_shares_verify_a_set_together(built: Path, kept: NoteStore, hashed: list[str]) -> None:
    for share in range(2):
        verify_share(built, split=None, kept=kept, share=share, shares=2)
    assert sorted(hashed) == ["a-000000.tar", "a-000001.tar", "a-000002.tar"]
    assert len(ShardSet.open(built, kept=kept)) == 15
    assert len(hashed) == 3


def test_what_a_share_finds_damaged_every_opening_says(built: Path, kept: NoteStore) -> None:
    damage(built / "a-000000.tar", 700)
    verify_share(built, split=None, kept=kept, share=0, shares=2)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"a-000000\.tar is damaged"):
            ShardSet.open(built, kept=kept)


def damage(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
