"""A folder of shards as one sequence of samples: it follows the manifest and believes no file.

Opening hashes every file of the chosen parts once and compares it with the manifest; after that
any sample is two reads at known offsets, in every epoch and in every worker.
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from opendet.files import sha256_of
from opendet.manifest import FileStamp, PartCommit, read_manifest
from opendet.record import Record
from opendet.sample import Sample
from opendet.shard_reader import Entry, read_index, read_record, read_sample
from opendet.shards import Member


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

    def entry(self, place: int) -> Entry:
        key = self.keys[place].decode()
        image_offset, image_size, record_offset, record_size = map(int, self.spans[place])
        return Entry(
            Member(key, self.extensions[place], image_offset, image_size),
            Member(key, "json", record_offset, record_size),
        )

    def open(self) -> BinaryIO:
        """Open the tar file. Raises ValueError if it is no longer the file that was verified."""
        try:
            now = self.path.stat()
        except FileNotFoundError as error:
            raise ValueError(f"{self.path} went away while it was in use") from error
        if (now.st_size, now.st_mtime_ns) != (self.bytes, self.mtime_ns):
            raise ValueError(f"{self.path} was changed while it was in use: start again")
        return self.path.open("rb")


class ShardSet:
    """The samples of a stage's shards, in the manifest's order."""

    def __init__(self, shards: tuple[Shard, ...]) -> None:
        self.shards = shards
        self._ends = list(accumulate(len(shard.keys) for shard in shards))

    @classmethod
    def open(cls, folder: Path, *, split: str | None = None) -> "ShardSet":
        """Verify the shards of a split, or of all splits, against `folder`'s manifest.

        Raises ValueError, in one line, for a file that is missing or not what the manifest says,
        and for a key that comes twice.
        """
        manifest = read_manifest(folder)
        parts = manifest.parts if split is None else manifest.of_split(split)
        if not parts:
            raise ValueError(f"{folder} has no shard of the split {split!r}: see its manifest.json")
        shards = tuple(_verified(folder, part) for part in parts)
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
        shard, place = self._locate(index)
        with shard.open() as file:
            return read_sample(file, shard.entry(place), where=str(shard.path))

    def record(self, index: int) -> Record:
        """The record of sample `index` alone."""
        shard, place = self._locate(index)
        with shard.open() as file:
            return read_record(file, shard.entry(place), where=str(shard.path))

    def _locate(self, index: int) -> tuple[Shard, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        number = bisect_right(self._ends, index)
        start = self._ends[number - 1] if number else 0
        return self.shards[number], index - start


def check_file(path: Path, stamp: FileStamp) -> None:
    """Raises ValueError, in one line, if the file is not what its stamp says."""
    if not path.is_file():
        raise ValueError(f"{path} is missing: restore it, or build the stage again")
    size = path.stat().st_size
    if size != stamp.bytes:
        raise ValueError(f"{path} is damaged: {size} bytes instead of {stamp.bytes}")
    if sha256_of(path) != stamp.sha256:
        raise ValueError(f"{path} is damaged: its sha256 is not the manifest's")


def part_files(part: PartCommit) -> dict[str, FileStamp]:
    """The files of a shard's part. Raises ValueError if there is anything but a tar and its idx."""
    expected = {f"{part.shard.name}.tar", f"{part.shard.name}.idx"}
    if set(part.files) != expected or any(Path(name).name != name for name in expected):
        raise ValueError(f"{part.shard.name[:120]!r} is no part of packed shards: its files differ")
    return part.files


def _verified(folder: Path, part: PartCommit) -> Shard:
    path = folder / f"{part.shard.name}.tar"
    files = part_files(part)
    # Looked at before it is hashed: a change in between shows as a newer time at the first read.
    before = path.stat() if path.is_file() else None
    for name, stamp in files.items():
        check_file(folder / name, stamp)
    assert before is not None
    entries = read_index(path.with_suffix(".idx"))
    if len(entries) != part.samples_out:
        raise ValueError(f"{path}: {len(entries)} samples, the manifest says {part.samples_out}")
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
    )
