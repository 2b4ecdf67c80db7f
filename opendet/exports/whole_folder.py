"""A folder that appears under its name when all of it is written."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opendet.files import errors_name, fsync_path, require_folder_place


def require_unused(folder: Path) -> None:
    """Raises ValueError, in one line, where something is in the folder or in its place."""
    require_folder_place(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty: empty it, or name a folder that is not there yet")


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` to write into, which takes its place at the end.

    Where the block fails it is removed; where the process is killed it stays as `.<name>.*`.
    """
    require_unused(target)
    place = target.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
    try:
        folder.chmod(0o755)
        with errors_name(target):
            yield folder
        os.sync()  # one call for what may be a million files
        folder.replace(place)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # the first error is the one to tell
        raise
    fsync_path(place.parent)
