"""A pack: answers in the order of their keys, found without reading them all into memory.

    pack-<n>.keys    N rows of 48 bytes: the key's 32, begin and end of its JSON (little-endian)
    pack-<n>.values  the JSON texts one behind the other

A new pack holds all that the ones before it held, and counts from the moment its keys are there.

Rows are sorted, so a lookup halves its way through a file that the kernel maps: a worker with a
hundred million answers at hand holds none of them.
"""

import mmap
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from opendet.files import fsync_path

_ROW = struct.Struct("<32sQQ")


@dataclass(frozen=True)
class Pack:
    """An open pack."""

    _rows: mmap.mmap
    _texts: mmap.mmap

    def __len__(self) -> int:
        return len(self._rows) // _ROW.size

    def keys(self) -> Iterator[bytes]:
        for place in range(len(self)):
            yield self._row(place)[0]

    def find(self, key: bytes) -> bytes | None:
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            found, begin, end = self._row(middle)
            if found == key:
                return self._texts[begin:end]
            low, high = (middle + 1, high) if found < key else (low, middle)
        return None

    def _row(self, place: int) -> tuple[bytes, int, int]:
        row: tuple[bytes, int, int] = _ROW.unpack_from(self._rows, place * _ROW.size)
        return row


def open_pack(folder: Path) -> tuple[Pack | None, int]:
    """The newest pack of a kind and its number; None and 0 where there is none. Raises ValueError
    where its two files do not belong together."""
    numbers = pack_numbers(folder)
    while numbers:
        keys, values = _files(folder, numbers[-1])
        try:
            return _opened(keys, values), numbers[-1]
        except (FileNotFoundError, ValueError) as error:  # one is not there, or empty, or damaged
            newer = pack_numbers(folder)
            if newer in ([], numbers):
                raise ValueError(
                    f"{keys} and its .values are damaged: remove both; what they held is lost"
                ) from error
            numbers = newer  # replaced since it was listed
    return None, 0


def _opened(keys: Path, values: Path) -> Pack:
    with keys.open("rb") as rows, values.open("rb") as texts:
        pack = Pack(
            mmap.mmap(rows.fileno(), 0, access=mmap.ACCESS_READ),
            mmap.mmap(texts.fileno(), 0, access=mmap.ACCESS_READ),
        )
    whole = len(pack._rows) % _ROW.size == 0
    if not whole or pack._row(len(pack) - 1)[2] != len(pack._texts):
        raise ValueError("the two files do not belong together")
    return pack


def pack_numbers(folder: Path) -> list[int]:
    """The numbers of a kind's packs, ascending."""
    names = (re.fullmatch(r"pack-(\d+)\.keys", path.name) for path in folder.glob("pack-*.keys"))
    return sorted(int(name[1]) for name in names if name)


def write_pack(folder: Path, answers: Iterable[tuple[bytes, bytes]]) -> int:
    """Write a new pack of a kind from keys, ascending, and JSON texts; returns how many there were.
    Where there are none, nothing is written."""
    keys, values = _files(folder, max(pack_numbers(folder), default=0) + 1)
    growing = keys.with_suffix(".growing")
    begin, before, number = 0, b"", 0
    with growing.open("wb") as rows, values.open("wb") as texts:
        for key, text in answers:
            assert before < key, "keys must ascend"
            texts.write(text)
            rows.write(_ROW.pack(key, begin, begin + len(text)))
            begin, before, number = begin + len(text), key, number + 1
    if not number:
        growing.unlink()
        values.unlink()
        return 0
    for path in (values, growing):
        fsync_path(path)
    growing.replace(keys)
    fsync_path(folder)
    return number


def remove_packs(folder: Path, numbers: Iterable[int]) -> None:
    """Remove packs; the keys go first."""
    for number in numbers:
        for path in _files(folder, number):
            path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what packing left behind when it was killed: values without keys, growing files."""
    for leftover in (*folder.glob("pack-*.growing"), *folder.glob("pack-*.values")):
        if not leftover.with_suffix(".keys").is_file():
            leftover.unlink()


def _files(folder: Path, number: int) -> tuple[Path, Path]:
    name = f"pack-{number:06d}"
    return folder / f"{name}.keys", folder / f"{name}.values"
