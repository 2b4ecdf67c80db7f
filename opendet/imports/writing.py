"""Several files that are written together or not at all."""

from collections.abc import Mapping
from pathlib import Path

from opendet.files import write_durably


def write_together(texts: Mapping[Path, str]) -> None:
    """Write each file, in their order; where one cannot be written, all are as they were before.

    Only what nobody can catch, such as SIGKILL, leaves some of them.
    """
    before = {path: path.read_bytes() if path.exists() else None for path in texts}
    new_folders = {path.parent for path in texts if not path.parent.exists()}
    try:
        for path, text in texts.items():
            write_durably(path, text.encode())
    except BaseException:
        for path, content in before.items():
            _put_back(path, content)
        for folder in new_folders:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        raise


def _put_back(path: Path, content: bytes | None) -> None:
    if content is None:
        if path.exists():  # one below something that is no folder cannot even be unlinked
            path.unlink()
    elif path.read_bytes() != content:
        write_durably(path, content)
