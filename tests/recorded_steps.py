"""What some work brings to the disk, in its order: a rename is safe behind the fsync of a file."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

Step = tuple[str, Path, bytes]
"""`fsync` or `rename`, the path as it is called before it, and what the file holds then; of a
folder nothing."""


def recorded_steps(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """Grows with each fsync and rename from now on."""
    told: list[Step] = []
    fsync = os.fsync

    def told_fsync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        told.append(("fsync", path, _content(path)))
        fsync(handle)

    def told_rename(rename: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def renamed(path: Path, target: Path) -> Path:
            told.append(("rename", path, _content(path)))
            return rename(path, target)

        return renamed

    monkeypatch.setattr(os, "fsync", told_fsync)
    monkeypatch.setattr(Path, "replace", told_rename(Path.replace))
    monkeypatch.setattr(Path, "rename", told_rename(Path.rename))
    return told


def _content(path: Path) -> bytes:
    return b"" if path.is_dir() else path.read_bytes()
