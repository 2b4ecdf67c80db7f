"""The answer store's files of one kind: segments that writers add to, and a pack of many answers.

    <store>/<kind>/kind.json                what all answers here have in common
    <store>/<kind>/<writer>.jsonl           a segment: one writer adds to it and nobody else does
    <store>/<kind>/pack-<n>.keys, .values   what `pack` made of segments, for quick finding

A line is `<crc32> <key> <JSON>`. A writer that is killed leaves a line without its end, which is
no answer; a line whose checksum is wrong is none either. No two writers ever touch one file, so
the folder may be shared by machines whose file system knows no locks.
"""

import json
import logging
import os
import socket
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import merge
from pathlib import Path
from typing import Any

from opendet.answers.packing import Pack, open_pack, pack_numbers

KEY_DIGITS = 64
"""Hexadecimal digits of a key, a SHA-256."""
_PREFIX = 8 + 1 + KEY_DIGITS + 1  # checksum and key, each with the space behind it

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Read:
    """How far a segment has been read."""

    position: int = 0
    damaged: int = 0


@dataclass
class Segments:
    """All answers of one kind. Several processes and machines may hold the same folder open."""

    folder: Path
    _answers: dict[bytes, tuple[str, int, int]] = field(default_factory=dict)
    """Key -> the segment's name, and where in it the JSON begins and ends, in bytes."""
    _read: dict[str, _Read] = field(default_factory=dict)
    _pack: Pack | None = None
    _pack_number: int = 0
    _own: int | None = None
    """Descriptor of this process's own segment, once it has something to say."""
    _path: Path = Path()
    """Where that lies."""

    def find(self, keys: Iterable[str]) -> dict[str, Any]:
        """The answers to those keys that have one, what others wrote up to now among them."""
        wanted = dict.fromkeys(keys)
        found = self._look(wanted)
        missing = [key for key in wanted if key not in found]
        if missing:
            self._catch_up()
            found |= self._look(missing)
        return found

    def _look(self, keys: Iterable[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key in keys:
            text = self._text(bytes.fromhex(key))
            if text is not None:
                found[key] = json.loads(text)
        return found

    def add(self, answers: Mapping[str, Any]) -> None:
        """Keep answers, JSON each. Once this returns, no kill of the process loses them."""
        if not answers:
            return
        if self._own is None or not self._path.exists():  # packed meanwhile
            self.close()
            self._own = self._new_segment()
        block = b"".join(line_of(key, answer) for key, answer in answers.items())
        while block:
            block = block[os.write(self._own, block) :]

    def texts(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key and the JSON of its answer, in the order of the keys."""
        self._catch_up()
        packed = self._pack.keys() if self._pack else iter(())
        before = b""
        for key in merge(packed, sorted(self._answers)):
            if key != before:
                text = self._text(key)
                assert text is not None
                yield key, text
            before = key

    def __len__(self) -> int:
        """How many different questions have an answer."""
        self._catch_up()
        if not self._pack:
            return len(self._answers)
        return len(self._pack) + sum(self._pack.find(key) is None for key in self._answers)

    def close(self) -> None:
        if self._own is not None:
            os.close(self._own)
            self._own = None

    def _text(self, key: bytes) -> bytes | None:
        """The JSON of an answer: the first that a segment has, else the pack's."""
        if (place := self._answers.get(key)) is None:
            return self._pack.find(key) if self._pack else None
        name, begin, end = place
        try:
            with (self.folder / name).open("rb") as file:
                file.seek(begin)
                return file.read(end - begin)
        except FileNotFoundError:  # packed meanwhile, with all that it held
            self._forget(name)
            self._catch_up()
            return self._text(key)

    def _forget(self, name: str) -> None:
        """A segment is gone: what it held is in a pack."""
        self._read.pop(name, None)
        gone = [key for key, place in self._answers.items() if place[0] == name]
        for key in gone:
            del self._answers[key]

    def _catch_up(self) -> None:
        """Read what was added to the segments since, and the newest pack."""
        newest = max(pack_numbers(self.folder), default=0)
        if newest > self._pack_number:
            self._pack, self._pack_number = open_pack(self.folder)
        for path in sorted(self.folder.glob("*.jsonl")):
            with suppress(FileNotFoundError):  # packed since it was listed
                self._catch_up_with(path)

    def _catch_up_with(self, path: Path) -> None:
        read = self._read.setdefault(path.name, _Read())
        if path.stat().st_size <= read.position:
            return
        damaged = read.damaged
        with path.open("rb") as file:
            file.seek(read.position)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # its writer is at it, or was killed
                key = key_of(line)
                if key is None:
                    read.damaged += 1
                else:
                    begin, end = read.position + _PREFIX, read.position + len(line) - 1
                    self._answers.setdefault(key, (path.name, begin, end))
                read.position += len(line)
        if read.damaged > damaged:
            log.warning("%s: %d damaged answers are passed over", path, read.damaged - damaged)

    def _new_segment(self) -> int:
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        self._path = self.folder / name
        return os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o664)


def line_of(key: str, answer: Any) -> bytes:
    """A segment's line."""
    assert len(key) == KEY_DIGITS, f"{key!r} is no key"
    text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    rest = f"{key} {text}".encode(errors="surrogatepass")
    return b"%08x %s\n" % (zlib.crc32(rest), rest)


def key_of(line: bytes) -> bytes | None:
    """The key of a whole line; None where it is damaged."""
    try:
        checksum, key = int(line[:8], 16), bytes.fromhex(line[9 : _PREFIX - 1].decode())
    except ValueError:
        return None
    rest = line[9:-1]
    right = line == b"%08x %s\n" % (checksum, rest) and zlib.crc32(rest) == checksum
    return key if right and len(key) == KEY_DIGITS // 2 else None
