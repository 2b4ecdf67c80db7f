"""A plain folder of images, without annotations."""

import os
from collections.abc import Iterator
from pathlib import Path

from opendet.sources.listing import Entry, entry_of, in_order


def list_folder(root: Path, *, batch: str, images: str) -> list[Entry]:
    """Every file below `root/images`, hidden ones left out: content decides what is an image."""
    folder = root / images
    return in_order(entry_of(batch, images, name) for name in files_below(folder))


def files_below(folder: Path) -> Iterator[str]:
    """Paths of regular files relative to `folder`, in no order. Links to files are followed."""
    for place, subfolders, _ in os.walk(folder, onerror=_refuse):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        with os.scandir(place) as found:
            for file in found:
                if file.is_file() and not file.name.startswith("."):
                    yield Path(file.path).relative_to(folder).as_posix()


def _refuse(error: OSError) -> None:
    """A folder that cannot be read would take its images out of every account."""
    raise ValueError(f"{error.filename}: {error.strerror}: mend it, or move it elsewhere")
