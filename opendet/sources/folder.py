"""A plain folder of images, without annotations."""

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from opendet.sources.listing import Entry, entry_of, in_order


def list_folder(root: Path, *, batch: str, images: str) -> list[Entry]:
    """Every file below `root/images`, hidden ones left out: content decides what is an image."""
    folder = root / images
    return in_order(entry_of(batch, images, name) for name in files_below(folder))


def files_below(folder: Path) -> Iterator[str]:
    """Paths of regular files relative to `folder`, in no order. Links are followed.

    A folder that several ways lead to is listed once: by its own way, else by the first link in
    order. So a link that leads back to where it lies, or above `folder`, leads nowhere.
    """
    seen = {_identity(above) for above in folder.resolve().parents}
    waiting = deque([folder])
    while waiting:
        for place, subfolders, _ in os.walk(waiting.popleft(), onerror=_refuse):
            identity = _identity(Path(place))
            names = sorted(name for name in subfolders if not name.startswith("."))
            if identity in seen:
                subfolders.clear()
                continue
            seen.add(identity)
            linked = {name for name in names if Path(place, name).is_symlink()}
            waiting += (Path(place, name) for name in names if name in linked)
            subfolders[:] = [name for name in names if name not in linked]
            with os.scandir(place) as found:
                for file in found:
                    if file.is_file() and not file.name.startswith("."):
                        yield Path(file.path).relative_to(folder).as_posix()


def _identity(folder: Path) -> tuple[int, int]:
    """By which a folder is known, whatever way leads to it."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def _refuse(error: OSError) -> None:
    """A folder that cannot be read would take its images out of every account."""
    raise ValueError(f"{error.filename}: {error.strerror}: mend it, or move it elsewhere")
