"""A folder of shards as one sequence of samples: it follows the manifest and believes no file.

Opening hashes every file of the chosen parts once, several at a time, and compares it with the
manifest; after that any sample is two reads at known offsets, in every epoch and in every worker.

No damaged byte is handed out. While a shard's sha256 is taken, a fast hash (`opendet.shard_notes`)
of each image and of each record is noted; every read is compared with its note. So what comes out
are the bytes that the manifest names, whatever happened to the disk since.
"""

import os
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from opendet.files import sha256_of
from opendet.manifest import FileStamp, Manifest, PartCommit, read_manifest
from opendet.ordered_map import map_on_threads
from opendet.record import Record
from opendet.sample import Sample
from opendet.shard_notes import Notes, NoteStore, ShardLook, hash_and_note, note_of
from opendet.shard_reader import (
    Entry,
    Opened,
    read_index,
    read_member,
    record_of,
    sample_of,
)
from opendet.shards import KEY, Member

T = TypeVar("T")

OPEN_SHARDS = 128
"""Open at a time, in each process: a system allows some thousand descriptors, often 1024."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar file that matched the manifest, and how it looked then."""

    path: Path
    bytes: int
    mtime_ns: int
    extensions: tuple[str, ...]
    """Of each sample's image."""
    keys: NDArray[np.bytes_]
    """(n,) of ASCII: at a million samples, a Python string each would be copied into every worker
    by its reference count."""
    spans: NDArray[np.int64]
    """(n, 4): offset and size of the image, offset and size of the record, in bytes."""
    notes: Notes
    """Of the images and of the records, as they were when the sha256 was right."""

    def entry(self, place: int) -> Entry:
        key = self.keys[place].decode()
        image_offset, image_size, record_offset, record_size = map(int, self.spans[place])
        return Entry(
            Member(key, self.extensions[place], image_offset, image_size),
            Member(key, "json", record_offset, record_size),
        )

    def require_unchanged(self) -> None:
        """Raises ValueError if the tar file is no longer the one that was verified."""
        try:
            now = self.path.stat()
        except FileNotFoundError as error:
            raise ValueError(f"{self.path} went away while it was in use") from error
        if (now.st_size, now.st_mtime_ns) != (self.bytes, self.mtime_ns):
            raise ValueError(f"{self.path} was changed while it was in use: start again")


class _Descriptor:
    """An open file that is closed when the last one who reads it is done with it."""

    def __init__(self, path: Path) -> None:
        self._number = os.open(path, os.O_RDONLY)

    def fileno(self) -> int:
        return self._number

    def __del__(self) -> None:
        if hasattr(self, "_number"):
            os.close(self._number)


class ShardSet:
    """The samples of a stage's shards, in the manifest's order."""

    def __init__(self, shards: tuple[Shard, ...]) -> None:
        self.shards = shards
        self._ends = list(accumulate(len(shard.keys) for shard in shards))
        self._opened = lru_cache(OPEN_SHARDS)(lambda number: _Descriptor(shards[number].path))

    def __reduce__(self) -> tuple[type["ShardSet"], tuple[tuple[Shard, ...]]]:
        return ShardSet, (self.shards,)  # a descriptor means nothing to another process

    @classmethod
    def open(
        cls, folder: Path, *, split: str | None = None, kept: NoteStore | None = None
    ) -> "ShardSet":
        """Verify the shards of a split, or of all splits, against `folder`'s manifest.

        A shard with notes in `kept`, and of the size and time that it had then, is not hashed; the
        notes of the others are put there. Raises ValueError, in one line, for a file that is
        missing or not what the manifest says, and for a key that comes twice.
        """
        parts = _parts(folder, split)
        shards = tuple(_on_all_cores(partial(_verified, folder, kept), parts))
        keys = np.concatenate([shard.keys for shard in shards])
        unique, counts = np.unique(keys, return_counts=True)
        if len(unique) < len(keys):
            twice = unique[counts > 1][0].decode()
            raise ValueError(f"{folder}: key {twice!r} comes twice: build the stage again")
        return cls(shards)

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def keys(self) -> list[str]:
        return [key.decode() for shard in self.shards for key in shard.keys]

    def sample(self, index: int) -> Sample:
        """Sample `index`, 0 <= index < len(self), with `content`. Raises ValueError on damage."""
        shard, place, file = self._reach(index)
        entry, notes = shard.entry(place), shard.notes[place]
        image = _undamaged(shard, file, entry.image, notes[0])
        text = _undamaged(shard, file, entry.record, notes[1])
        return sample_of(entry, image, text, where=str(shard.path))

    def record(self, index: int) -> Record:
        """The record of sample `index` alone."""
        shard, place, file = self._reach(index)
        entry = shard.entry(place)
        text = _undamaged(shard, file, entry.record, shard.notes[place, 1])
        return record_of(entry, text, where=str(shard.path))

    def _reach(self, index: int) -> tuple[Shard, int, Opened]:
        """The shard of a sample, its place there, and the shard's open file."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        number = bisect_right(self._ends, index)
        shard = self.shards[number]
        shard.require_unchanged()
        return shard, index - (self._ends[number - 1] if number else 0), self._opened(number)


def verify_share(
    folder: Path, *, split: str | None, kept: NoteStore, share: int, shares: int
) -> None:
    """Note what `ShardSet.open` will look for, of each `shares`-th shard: several processes, of any
    machine that sees these folders, verify a large set together."""
    deque(_on_all_cores(partial(_tried, folder, kept), _parts(folder, split)[share::shares]), 0)


def check_file(path: Path, stamp: FileStamp) -> None:
    """Raises ValueError, in one line, if the file is not what its stamp says."""
    _check_size(path, stamp)
    _check_sha256(path, stamp, sha256_of(path))


def part_files(folder: Path, part: PartCommit) -> dict[str, FileStamp]:
    """The files of a shard's part in a folder, by name. Raises ValueError, in one line that names
    the folder, if there is anything but a tar and its idx."""
    expected = {f"{part.shard.name}.tar", f"{part.shard.name}.idx"}
    if set(part.files) != expected or not KEY.fullmatch(part.shard.name):
        name = part.shard.name[:120]
        raise ValueError(f"{folder}: {name!r} is no part of packed shards: its files differ")
    return part.files


def _parts(folder: Path, split: str | None) -> tuple[PartCommit, ...]:
    manifest = read_manifest(folder)
    parts = manifest.parts if split is None else manifest.of_split(split)
    if not parts:
        raise ValueError(f"{folder} has no shard of the split {split!r}: {_mend(manifest)}")
    return parts


def _mend(manifest: Manifest) -> str:
    there = ", ".join(dict.fromkeys(part.shard.split for part in manifest.parts))
    if not there:
        return "it has none at all: build the data again"
    return f"it has {there}; ask for one of them, or give a batch of source.yaml this split"


def _on_all_cores(function: Callable[[PartCommit], T], parts: Sequence[PartCommit]) -> Iterator[T]:
    return map_on_threads(function, parts, threads=len(os.sched_getaffinity(0)))


def _tried(folder: Path, kept: NoteStore, part: PartCommit) -> None:
    # What is wrong here leaves no note: each process finds it again when it opens the set, and ends
    # with that line, where this one alone would leave the others waiting.
    with suppress(ValueError):
        _verified(folder, kept, part)


def _verified(folder: Path, kept: NoteStore | None, part: PartCommit) -> Shard:
    path = folder / f"{part.shard.name}.tar"
    index = path.with_suffix(".idx")
    files = part_files(folder, part)
    _check_size(path, files[path.name])
    check_file(index, files[index.name])
    entries = read_index(index)
    if len(entries) != part.samples_out:
        raise ValueError(f"{path}: {len(entries)} samples, the manifest says {part.samples_out}")
    file = _Descriptor(path)
    # Looked at before it is hashed: a change in between shows as a newer time at the first read.
    before = os.fstat(file.fileno())
    sha256 = files[path.name].sha256
    look = ShardLook(sha256, files[index.name].sha256, before.st_size, before.st_mtime_ns)
    notes = kept.read(look) if kept else None
    if notes is None or len(notes) != len(entries):
        digest, notes = hash_and_note(path, file, before.st_size, entries)
        _check_sha256(path, files[path.name], digest)
        if kept:
            kept.write(look, notes)
    spans = [
        (e.image.offset, e.image.size, e.record.offset, e.record.size) for e in entries
    ]  # fmt: skip
    return Shard(
        path,
        before.st_size,
        before.st_mtime_ns,
        tuple(entry.image.extension for entry in entries),
        np.array([entry.key for entry in entries], dtype=np.bytes_),
        np.array(spans, dtype=np.int64).reshape(-1, 4),
        notes,
    )


def _undamaged(shard: Shard, file: Opened, member: Member, note: np.uint64) -> bytes:
    """The bytes of a member. Raises ValueError if they are not those that were verified."""
    content = read_member(file, member, where=str(shard.path))
    if note_of(content) != note:
        raise ValueError(f"{shard.path}: {member.name} was damaged after it had been verified")
    return content


def _check_size(path: Path, stamp: FileStamp) -> None:
    if not path.is_file():
        raise ValueError(f"{path} is missing: restore it, or build the stage again")
    size = path.stat().st_size
    if size != stamp.bytes:
        raise ValueError(f"{path} is damaged: {size} bytes instead of {stamp.bytes}")


def _check_sha256(path: Path, stamp: FileStamp, sha256: str) -> None:
    if sha256 != stamp.sha256:
        raise ValueError(f"{path} is damaged: its sha256 is not the manifest's")
