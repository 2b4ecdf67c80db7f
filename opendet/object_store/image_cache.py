"""A folder of images by their SHA-256, for images that lie far away and are read by many stages."""

import hashlib
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

GIGABYTES = "OPENDET_IMAGE_CACHE_GB"
"""The variable that bounds it; 0 keeps nothing."""
DEFAULT_GIGABYTES = 10.0
FOLDER = ".opendet/images"
"""Below the project's root."""
_KEPT_OF_BOUND = 0.9
_CLEARED_EVERY = 0.05
"""Of the bound: so much is written by a process before it clears up once more."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass
class ImageCache:
    """Several processes may share the folder. Pickles; takes threads."""

    folder: Path
    most_bytes: int
    _written: int = field(default=0, repr=False)

    @classmethod
    def of_project(cls, root: Path) -> "ImageCache | None":
        """None where the environment wants none. Raises ValueError where it says no number."""
        told = os.environ.get(GIGABYTES, "")
        try:
            most_bytes = int(float(told or DEFAULT_GIGABYTES) * 10**9)
        except (ValueError, OverflowError) as error:  # the latter of `inf`
            raise ValueError(
                f"{GIGABYTES} is {told[:40]!r}: write a number, 0 for no cache"
            ) from error
        return cls(root / FOLDER, most_bytes) if most_bytes > 0 else None

    def read(self, sha256: str) -> bytes | None:
        """None where it is not here; what the disk has damaged is forgotten."""
        if not _SHA256.fullmatch(sha256):  # a record may say anything, and names no path by it
            return None
        path = self._place(sha256)
        try:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != sha256:
                path.unlink()
                return None
            os.utime(path)  # what was used last goes last
        except OSError:
            return None
        return content

    def write(self, content: bytes) -> None:
        """Does nothing where the disk refuses: the image is where it came from."""
        path = self._place(hashlib.sha256(content).hexdigest())
        with suppress(OSError):
            if not path.exists():
                _write_whole(path, content)
                self._written += len(content)
        if self._written > self.most_bytes * _CLEARED_EVERY:
            self._written = 0
            self.clear_up()

    def clear_up(self) -> None:
        """Remove what was not used for the longest time, until the rest is within the bound."""
        found = []
        for path in self.folder.glob("*/*"):
            with suppress(FileNotFoundError):  # another process clears up too
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path))
        left = sum(size for _, size, _ in found)
        if left <= self.most_bytes:
            return
        for _, size, path in sorted(found):
            if left <= self.most_bytes * _KEPT_OF_BOUND:
                return
            path.unlink(missing_ok=True)
            left -= size

    def _place(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256


def _write_whole(path: Path, content: bytes) -> None:
    """Not forced to the disk: its hash tells when it is read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
