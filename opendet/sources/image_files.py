"""Where a build's images are read again: in the source's own folder, or where they were drawn."""

import hashlib
from functools import lru_cache
from pathlib import Path

from opendet.record import Record
from opendet.sources.card import SourceCard
from opendet.sources.containers import ImageContainer

_OPEN_CONTAINERS = 4


class ImageFiles:
    """Reads the original bytes of a build's records, wherever they lie. Pickles; takes threads."""

    def __init__(
        self, card: SourceCard, build_folder: Path, project_root: Path | None = None
    ) -> None:
        root = project_root or Path.cwd()
        self._drawn = (build_folder / "source").absolute()
        self._roots = {
            batch.name: batch.folder(root) for batch in card.batches if batch.format != "scenes"
        }

    def read(self, record: Record) -> bytes:
        """Raises ValueError, with the key, where the bytes are not those that were inspected."""
        try:
            content = self._content(record)
        except (FileNotFoundError, KeyError) as error:
            raise ValueError(
                f"{record.key}: its image is gone: put {record.file} back, then run the stage or "
                "`opendet data retry` again"
            ) from error
        if len(content) != record.bytes or hashlib.sha256(content).hexdigest() != record.sha256:
            raise ValueError(
                f"{record.key}: {record.file} changed since the stage source saw it: a batch never "
                "changes, so put the file back, or list the new one in a new batch, or remove "
                ".opendet/<build>/source-checks and build the source again"
            )
        return content

    def _content(self, record: Record) -> bytes:
        root = self._roots.get(record.batch)
        if root is not None:
            return (root / record.file).read_bytes()
        path = self._drawn / record.file
        return _open_container(path, path.stat().st_mtime_ns).read(record.key)


@lru_cache(maxsize=_OPEN_CONTAINERS)
def _open_container(path: Path, _changed: int) -> ImageContainer:
    """Opened once per process, and again when the file is another one."""
    return ImageContainer(path)
