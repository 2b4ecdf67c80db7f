"""Which weights a folder or file holds, as a short name, so that answers of others are never taken
for theirs."""

import hashlib
import json
import struct
from pathlib import Path
from typing import BinaryIO

_WHOLE = 2**20
"""Bytes of a tensor that is read whole."""
_PIECES, _PIECE = 16, 2**16
"""Of a larger one so many pieces of so many bytes, evenly apart. Whatever is trained moves all over
its tensor; that every tensor is looked at finds a new head on an old backbone, too. So tens of
gigabytes need not be read by every worker."""
_LONGEST_HEADER = 100 * 2**20


def folder_digest(folder: Path) -> str:
    """Twelve hexadecimal digits of a model's folder: its files' names and content. What is hidden,
    such as a downloader's notes, is left out."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder)
        if not any(part.startswith(".") for part in name.parts):
            digest.update(f"{name.as_posix()}\n".encode())
            _feed(digest, path)
    return digest.hexdigest()[:12]


def file_digest(path: Path) -> str:
    """Twelve hexadecimal digits of one file that holds a model."""
    digest = hashlib.sha256()
    _feed(digest, path)
    return digest.hexdigest()[:12]


def _feed(digest: "hashlib._Hash", path: Path) -> None:
    """A file's content: of .safetensors the header and something of every tensor."""
    digest.update(f"{path.stat().st_size}\n".encode())
    with path.open("rb") as file:
        places = _tensors(file) if path.suffix == ".safetensors" else None
        file.seek(0)
        if places is None:
            digest.update(hashlib.file_digest(file, "sha256").digest())
            return
        digest.update(file.read(places[0][0] if places else -1))
        for begin, end in places:
            _feed_tensor(digest, file, begin, end)


def _feed_tensor(digest: "hashlib._Hash", file: BinaryIO, begin: int, end: int) -> None:
    if end - begin <= _WHOLE:
        file.seek(begin)
        digest.update(file.read(end - begin))
        return
    for number in range(_PIECES):
        file.seek(begin + number * (end - begin - _PIECE) // (_PIECES - 1))
        digest.update(file.read(_PIECE))


def _tensors(file: BinaryIO) -> list[tuple[int, int]] | None:
    """Where the tensors of a .safetensors file begin and end, in order; None where it is none."""
    try:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(min(length, _LONGEST_HEADER)))
        named = (one["data_offsets"] for name, one in header.items() if name != "__metadata__")
        return sorted((8 + length + int(begin), 8 + length + int(end)) for begin, end in named)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError):
        return None
