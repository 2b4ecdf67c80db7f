"""Which weights a folder holds, as a short name, so that answers of others are never taken for
theirs."""

import hashlib
from pathlib import Path
from typing import BinaryIO

_WHOLE = 64 * 2**20
"""Bytes of a file that is read whole."""
_PIECES, _PIECE = 64, 2**16
"""Of a larger one so many pieces of so many bytes, evenly apart: training moves every tensor, so
two trainings differ in each of them, and tens of gigabytes need not be read by every worker."""


def folder_digest(folder: Path) -> str:
    """Twelve hexadecimal digits of a model's folder: its files' names, sizes and content."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\n{size}\n".encode())
        with path.open("rb") as file:
            _feed(digest, file, size)
    return digest.hexdigest()[:12]


def file_digest(path: Path) -> str:
    """Twelve hexadecimal digits of one file that holds a model."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        _feed(digest, file, path.stat().st_size)
    return digest.hexdigest()[:12]


def _feed(digest: "hashlib._Hash", file: BinaryIO, size: int) -> None:
    if size <= _WHOLE:
        digest.update(file.read())
        return
    for number in range(_PIECES):
        file.seek(number * (size - _PIECE) // (_PIECES - 1))
        digest.update(file.read(_PIECE))
