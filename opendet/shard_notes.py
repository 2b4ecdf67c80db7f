"""Notes of a shard's members: a fast hash of each, true once the shard's sha256 was right.

They make later reads cheap to check, and they last: kept in a folder, they spare the next start,
and the other ranks, from hashing the shard again. No damaged byte comes through by that, since
every member is still compared with its note when it is read.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from opendet.files import write_durably
from opendet.shard_reader import Entry, Opened, read_member

Notes = NDArray[np.uint64]
"""(n, 2): xxh3, 64 bits, of each sample's image and of its record."""
_CHUNK = 1 << 20  # bytes
_STORED = np.dtype("<u8")


@dataclass(frozen=True, slots=True)
class ShardLook:
    """What notes are true of: files of these hashes, and the tar file as it lies on this disk."""

    tar_sha256: str
    index_sha256: str
    bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class NoteStore:
    """Notes of shards that were verified, a file for each. Several processes may share it."""

    folder: Path

    def read(self, look: ShardLook) -> Notes | None:
        """None where there are none, or not of a file that looks like this, or not whole."""
        try:
            content = self._place(look).read_bytes()
        except FileNotFoundError:
            return None
        seal, body = content[: _STORED.itemsize], content[_STORED.itemsize :]
        head = _head(look)
        if seal != _seal(body) or not body.startswith(head):
            return None
        return np.frombuffer(body[len(head) :], _STORED).astype(np.uint64).reshape(-1, 2)

    def write(self, look: ShardLook, notes: Notes) -> None:
        body = _head(look) + notes.astype(_STORED).tobytes()
        write_durably(self._place(look), _seal(body) + body)

    def _place(self, look: ShardLook) -> Path:
        return self.folder / look.tar_sha256[:2] / look.tar_sha256


def note_of(content: bytes) -> int:
    return xxhash.xxh3_64_intdigest(content)


def hash_and_note(
    path: Path, file: Opened, size: int, entries: Sequence[Entry]
) -> tuple[str, Notes]:
    """The sha256 of a tar file of so many bytes, and the notes of its samples, from one reading.

    Raises ValueError for members that overlap: no byte is read twice.
    """
    sha256, notes, position = hashlib.sha256(), {}, 0
    members = (member for entry in entries for member in (entry.image, entry.record))
    for member in sorted(members, key=lambda member: member.offset):
        if member.offset < position:
            raise ValueError(f"{path}: its .idx lets members overlap at {member.name}")
        _feed(sha256.update, file, position, member.offset)
        content = read_member(file, member, where=str(path))
        sha256.update(content)
        notes[member.name] = note_of(content)
        position = member.offset + member.size
    _feed(sha256.update, file, position, size)
    pairs = [(notes[e.image.name], notes[e.record.name]) for e in entries]
    return sha256.hexdigest(), np.array(pairs, dtype=np.uint64).reshape(-1, 2)


def _feed(update: Callable[[bytes], None], file: Opened, start: int, end: int) -> None:
    """The bytes of [start, end): headers, padding, or whatever the index does not tell of."""
    while start < end and (chunk := os.pread(file.fileno(), min(end - start, _CHUNK), start)):
        update(chunk)
        start += len(chunk)


def _head(look: ShardLook) -> bytes:
    return f"{look.index_sha256} {look.bytes} {look.mtime_ns}\n".encode()


def _seal(body: bytes) -> bytes:
    """Of a file of notes itself: damage to it must not be taken for damage to a shard."""
    return note_of(body).to_bytes(_STORED.itemsize, "little")
