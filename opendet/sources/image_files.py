"""Where images are read: in a folder or at an address, as the batch says, or where drawn."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from opendet.object_store.image_cache import ImageCache
from opendet.object_store.images import OverlongError, StoredImages
from opendet.record import Record
from opendet.sources.card import SourceCard
from opendet.sources.containers import ImageContainer

_OPEN_CONTAINERS = 4

__all__ = ["ImageFiles", "ImageFolder", "ImagePlace", "OverlongError", "image_places"]


class ImageFiles:
    """Reads the original bytes of a build's records, wherever they lie. Pickles; takes threads."""

    def __init__(
        self, card: SourceCard, build_folder: Path, project_root: Path | None = None
    ) -> None:
        root = project_root or Path.cwd()
        self._drawn = (build_folder / "source").absolute()
        self._places = image_places(card, root)

    def read(self, record: Record) -> bytes:
        """Raises ValueError, with the key, where the bytes are not those that were inspected."""
        try:
            content = self._content(record)
        except (FileNotFoundError, KeyError) as error:
            raise ValueError(
                f"{record.key}: its image is gone: put {record.file} back, then run the stage or "
                "`opendet data retry` again"
            ) from error
        except OverlongError:
            content = b""
        if len(content) != record.bytes or hashlib.sha256(content).hexdigest() != record.sha256:
            raise ValueError(
                f"{record.key}: {record.file} changed since the stage source saw it: a batch never "
                "changes, so put the file back, or list the new one in a new batch, or remove "
                ".opendet/<build>/source-checks and build the source again"
            )
        return content

    def _content(self, record: Record) -> bytes:
        place = self._places.get(record.batch)
        if place is not None:
            return place.read(record.file, most_bytes=record.bytes, sha256=record.sha256)
        path = self._drawn / record.file
        return _open_container(path, path.stat().st_mtime_ns).read(record.key)


@lru_cache(maxsize=_OPEN_CONTAINERS)
def _open_container(path: Path, _changed: int) -> ImageContainer:
    """Opened once per process, and again when the file is another one."""
    return ImageContainer(path)


class ImagePlace(Protocol):
    """Pickles; takes threads."""

    def read(self, name: str, *, most_bytes: int, sha256: str = "") -> bytes:
        """The bytes of an image. Who knows its hash says so, and compares it with what comes.

        Raises FileNotFoundError where it is missing, OverlongError where it is longer.
        """
        ...


@dataclass(frozen=True)
class ImageFolder:
    """Images that are files below a folder."""

    root: Path

    def read(self, name: str, *, most_bytes: int, sha256: str = "") -> bytes:  # noqa: ARG002
        path = self.root / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing")
        if path.stat().st_size > most_bytes:
            raise OverlongError(f"{path} has more than {most_bytes} bytes")
        return path.read_bytes()


def image_places(card: SourceCard, project_root: Path) -> dict[str, ImagePlace]:
    """Batch -> where its images lie, for all but drawn scenes."""
    cache = ImageCache.of_project(project_root)
    return {
        batch.name: StoredImages(batch.address, cache)
        if batch.address
        else ImageFolder(batch.folder(project_root))
        for batch in card.batches
        if batch.format != "scenes"
    }
