"""Reads one shard that may come from anywhere: nothing in it is run, followed or believed.

Only plain regular members with known extensions and well-formed names are taken, in WebDataset's
order; anything else (a link, a pickle, a path, a header that fails its checksum, an end that is
not a tar file's end) is a ValueError of one line. Extensions decide nothing but which member is
the image; pixels are decoded elsewhere, by content.

The walk is ours and not `tarfile`'s, since that stops without a word at a damaged header and at a
missing end: a shard cut between two members would look like a shorter, healthy one.
"""

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, Protocol

from opendet.record import Record
from opendet.sample import Sample
from opendet.schema import record_from_json
from opendet.shards import (
    BLOCK,
    IMAGE_EXTENSIONS,
    KEY,
    MAX_IMAGE_BYTES,
    MAX_TEXT_BYTES,
    TEXT_EXTENSIONS,
    Member,
    check_sample,
    shard_bytes,
)

_INDEX_HEAD = re.compile(r"v1\.2 (\d{1,9})")
_NUMBER = re.compile(r"\d{1,18}")


class Opened(Protocol):
    """A file that is open for reading: a Python file, or a bare descriptor with an owner."""

    def fileno(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one sample lies in its shard."""

    image: Member
    record: Member

    @property
    def key(self) -> str:
        return self.image.key


def read_shard(path: Path) -> Iterator[Sample]:
    """The samples of a shard in its order, with `content`.

    Every image is compared with the size and the sha256 of its record. Raises ValueError, in one
    line with the path, at the first thing that is not as `opendet.shards.write_shard` makes it.
    """
    with _open(path) as file:
        for entry in shard_entries(path):
            yield read_sample(file, entry, where=str(path))


def shard_entries(path: Path) -> Iterator[Entry]:
    """The entries of a shard, read from its headers. Raises ValueError in one line."""
    yield from _entries(_members(path), path)


def read_index(path: Path) -> list[Entry]:
    """The entries of a shard, read from its `.idx`. Raises ValueError in one line."""
    with _open(path) as file:
        lines = file.read().decode("ascii", "backslashreplace").splitlines()
    head = _INDEX_HEAD.fullmatch(lines[0] if lines else "")
    entries = list(_entries((m for line in lines[1:] for m in _indexed(line, path)), path))
    if head is None or int(head[1]) != len(entries) or len(lines) != len(entries) + 1:
        raise ValueError(f"{path} is no whole index: expected 'v1.2 <n>' and n lines")
    return entries


def read_record(file: Opened, entry: Entry, *, where: str) -> Record:
    """The record of an entry. Raises ValueError, naming `where`, if it is not one of this key."""
    return record_of(entry, read_member(file, entry.record, where=where), where=where)


def read_sample(file: Opened, entry: Entry, *, where: str) -> Sample:
    """A sample with `content`, by two reads at its offsets in an open shard.

    Raises ValueError, naming `where`, if record and image do not belong together.
    """
    text, image = (read_member(file, member, where=where) for member in (entry.record, entry.image))
    sample = sample_of(entry, image, text, where=where)
    check_sample(sample, where=where)
    return sample


def read_member(file: Opened, member: Member, *, where: str) -> bytes:
    """A member's own bytes. Raises ValueError, naming `where`, if the file ends before they do."""
    # pread: no shared file position, so threads and forked workers may share an open shard.
    content = os.pread(file.fileno(), member.size, member.offset)
    if len(content) != member.size:
        raise ValueError(f"{where}: {member.name} is cut off")
    return content


def record_of(entry: Entry, text: bytes, *, where: str) -> Record:
    """The record that an entry's bytes spell. Raises ValueError, naming `where`, if it is not one
    of this key."""
    name = f"{where}: {entry.record.name}"
    try:
        record = record_from_json(text, where=name)
    except RecursionError as error:
        raise ValueError(f"{name} is nested too deep for a record") from error
    if record.key != entry.key:
        raise ValueError(f"{name} is the record of {record.key!r}")
    return record


def sample_of(entry: Entry, image: bytes, text: bytes, *, where: str) -> Sample:
    """The sample of an entry's bytes, the image taken as it is. Raises ValueError, naming `where`,
    if the record is not one of this key and of this kind of image."""
    record = record_of(entry, text, where=where)
    if entry.image.extension.replace("jpeg", "jpg") != record.format:
        raise ValueError(f"{where}: {entry.image.name} is a {record.format!r} in its record")
    return Sample(record, content=image)


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: restore it, or build the stage again") from error


def _members(path: Path) -> Iterator[Member]:
    with _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        position = 0
        while (header := file.read(BLOCK)) != b"\0" * BLOCK:
            where = f"{path}: byte {position}"
            if len(header) < BLOCK:
                raise ValueError(f"{where}: the shard is cut off")
            member = _member(header, position, where)
            position = member.offset + member.size + -member.size % BLOCK
            if position > size:
                raise ValueError(f"{where}: {member.name} is cut off")
            yield member
            file.seek(position)
        if size != shard_bytes(position) or any(file.read()):
            raise ValueError(f"{path}: byte {position}: this is not how a shard ends")


def _member(header: bytes, position: int, where: str) -> Member:
    try:
        info = tarfile.TarInfo.frombuf(header, "ascii", "backslashreplace")
    except tarfile.HeaderError as error:
        raise ValueError(f"{where}: no tar header: {error}") from error
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise ValueError(f"{where}: {info.name!r} is not a plain file (type {info.type!r})")
    return _checked(info.name, position + BLOCK, info.size, where)


def _checked(name: str, offset: int, size: int, where: str) -> Member:
    key, _, extension = name.partition(".")
    if not KEY.fullmatch(key):
        raise ValueError(f"{where}: member {name[:120]!r}: its key must match ^{KEY.pattern}$")
    if extension not in IMAGE_EXTENSIONS + TEXT_EXTENSIONS:
        raise ValueError(f"{where}: member {name[:120]!r} is neither an image nor a record")
    limit = MAX_IMAGE_BYTES if extension in IMAGE_EXTENSIONS else MAX_TEXT_BYTES
    if not 0 <= size <= limit:
        raise ValueError(f"{where}: {name} has {size} bytes, the limit is {limit}")
    return Member(key, extension, offset, size)


def _indexed(line: str, path: Path) -> Iterator[Member]:
    fields = line.split(" ")
    for start in range(0, len(fields), 4):
        extension, offset, size, name = (fields[start : start + 4] + [""] * 4)[:4]
        if not (_NUMBER.fullmatch(offset) and _NUMBER.fullmatch(size)):
            raise ValueError(f"{path}: {line[:120]!r} is no line of an index")
        member = _checked(name, int(offset), int(size), str(path))
        if member.extension != extension:
            raise ValueError(f"{path}: {name} is indexed as {extension[:20]!r}")
        yield member


def _entries(members: Iterator[Member], path: Path) -> Iterator[Entry]:
    seen: set[str] = set()
    for key, group in groupby(members, key=lambda member: member.key):
        if key in seen:
            raise ValueError(f"{path}: key {key!r} comes twice")
        seen.add(key)
        parts = list(group)
        images = [member for member in parts if member.extension in IMAGE_EXTENSIONS]
        records = [member for member in parts if member.extension == "json"]
        if len(images) != 1 or len(records) != 1:
            raise ValueError(f"{path}: {key} needs one image and one record (.json)")
        yield Entry(images[0], records[0])
