"""What lies where in a shard that may be damaged, or may be no shard of ours.

It is read from the index beside the shard where the two agree, else from the headers. Behind a
damaged header the walk goes on at the next block that looks like one.
"""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from opendet.shard_reader import Entry, read_index
from opendet.shards import BLOCK, IMAGE_EXTENSIONS, KEY, TEXT_EXTENSIONS, Member, shard_bytes

_MAGIC, _MAGIC_AT = b"ustar", 257
_CHUNK = 2048 * BLOCK
_KEPT = 4
"""Shards whose layout is remembered: some 5 MB each."""


@dataclass(frozen=True, slots=True)
class Located:
    """Where one sample's members lie; None for one that is missing."""

    key: str
    image: Member | None
    record: Member | None


def tar_layout(path: Path) -> tuple[tuple[Located, ...], tuple[str, ...]]:
    """The samples of a shard in its order, and a line for whatever is wrong with its layout.

    Raises FileNotFoundError where it is gone.
    """
    now = path.stat()
    return _layout(path, now.st_size, now.st_mtime_ns)


def tells_of(file: BinaryIO, member: Member) -> bool:
    """Whether the header before a member's content is whole and says the same of it."""
    try:
        return read_member(file, member.offset - BLOCK) == member
    except ValueError:
        return False


def read_member(file: BinaryIO, position: int) -> Member:
    """The member whose header stands at `position`. Raises ValueError in one line.

    Read by hand: `tarfile` takes ten times as long, and a summary reads two headers a sample.
    """
    header = os.pread(file.fileno(), BLOCK, position) if position >= 0 else b""
    written, kind, prefix = header[148:156], header[156:157], header[345:500]
    summed = sum(header) - sum(written) + len(written) * ord(" ")
    size = _octal(header[124:136])
    if len(header) < BLOCK or _octal(written) != summed or size < 0:
        raise ValueError("no tar header, or a damaged one")
    name = "/".join(_text(part) for part in (prefix, header[:100]) if part[0])
    key, _, extension = name.partition(".")
    if kind not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise ValueError(f"{name[:120]!r} is not a plain file (type {kind!r})")
    if not KEY.fullmatch(key) or extension not in IMAGE_EXTENSIONS + TEXT_EXTENSIONS:
        raise ValueError(f"member {name[:120]!r} is neither an image nor a record")
    return Member(key, extension, position + BLOCK, size)


def _octal(field: bytes) -> int:
    """A header's number; -1 for what is none."""
    digits = field.strip(b" \0")
    return int(digits, 8) if digits.isdigit() and not set(digits) & set(b"89") else -1


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("ascii", "backslashreplace")


@lru_cache(maxsize=_KEPT)
def _layout(path: Path, size: int, _changed: int) -> tuple[tuple[Located, ...], tuple[str, ...]]:
    index = path.with_suffix(".idx")
    with path.open("rb") as file:
        if not index.is_file():
            return _walked(file, size)
        try:
            entries = read_index(index)
            _require_agreement(file, entries, size)
        except ValueError as error:
            located, wrong = _walked(file, size)
            return located, (str(error).replace(str(index), index.name), *wrong)
    found = tuple(Located(entry.key, entry.image, entry.record) for entry in entries)
    return found, () if shard_bytes(_end(entries)) == size else (f"it is cut off at byte {size}",)


# --- by the index


def _require_agreement(file: BinaryIO, entries: list[Entry], size: int) -> None:
    """Raises ValueError where the index does not tell of all that a shard of this size holds."""
    members = sorted(
        (member for entry in entries for member in (entry.image, entry.record)),
        key=lambda member: member.offset,
    )
    starts = [0, *(_after(member) for member in members)]
    gapless = all(m.offset == at + BLOCK for m, at in zip(members, starts, strict=False))
    first = all(tells_of(file, member) for member in members[:1])
    # a short member more would fit into the empty blocks at the end
    more = size > shard_bytes(starts[-1]) or any(os.pread(file.fileno(), BLOCK, starts[-1]))
    if not gapless or not first or more:
        raise ValueError("its .idx speaks of other members, so its headers were read")


def _end(entries: list[Entry]) -> int:
    return max((_after(m) for entry in entries for m in (entry.image, entry.record)), default=0)


def _after(member: Member) -> int:
    """Where the next header stands."""
    return member.offset + member.size + -member.size % BLOCK


# --- by the headers


def _walked(file: BinaryIO, size: int) -> tuple[tuple[Located, ...], tuple[str, ...]]:
    wrong: list[str] = []
    images: dict[str, Member] = {}
    records: dict[str, Member] = {}
    for one in _walk(file, size):
        if isinstance(one, str):
            wrong.append(one)
        elif one.extension != "txt":
            kind = records if one.extension == "json" else images
            if kind.setdefault(one.key, one) is not one:
                wrong.append(f"byte {one.offset - BLOCK}: {one.name} comes again, it is left out")
    keys = dict.fromkeys([*images, *records])
    found = (Located(key, images.get(key), records.get(key)) for key in keys)
    return tuple(found), tuple(wrong)


def _walk(file: BinaryIO, size: int) -> Iterator[Member | str]:
    """Every whole member, and a line for every place where there should be one."""
    position, open_ended = 0, size > 0
    while position < size:
        if not any(os.pread(file.fileno(), BLOCK, position)):
            position, open_ended = _next_header(file, position + BLOCK, size), False
            continue
        try:
            member = read_member(file, position)
            if member.offset + member.size > size:
                raise ValueError(f"{member.name} is cut off")
        except ValueError as error:
            yield f"byte {position}: {error}"
            position, open_ended = _next_header(file, position + BLOCK, size), False
            continue
        yield member
        position, open_ended = _after(member), True
    if open_ended:
        yield f"it is cut off at byte {size}: it has no end"


def _next_header(file: BinaryIO, start: int, size: int) -> int:
    """Where the next block stands that looks like a header; `size` where none does."""
    for position in range(start, size, _CHUNK):
        chunk = os.pread(file.fileno(), _CHUNK, position)
        at = chunk.find(_MAGIC)
        while at >= 0:
            if at % BLOCK == _MAGIC_AT:
                return position + at - _MAGIC_AT
            at = chunk.find(_MAGIC, at + 1)
    return size
