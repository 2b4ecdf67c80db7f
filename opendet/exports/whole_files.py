"""Files that are written line by line, and are there under their names when all of them are."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from opendet.files import fsync_path


@contextmanager
def whole_files(folder: Path) -> Iterator[Callable[[str], BinaryIO]]:
    """A function that gives the file of a name to write to, the same one each time.

    Where the block fails, none of them appears.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, BinaryIO] = {}

    def file_of(name: str) -> BinaryIO:
        if name not in files:
            files[name] = (folder / f".{name}.whole").open("wb")
        return files[name]

    try:
        yield file_of
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
        for name, file in files.items():
            Path(file.name).replace(folder / name)
        fsync_path(folder)
    finally:
        for file in files.values():
            file.close()
            Path(file.name).unlink(missing_ok=True)
