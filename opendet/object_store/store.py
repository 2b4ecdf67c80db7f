"""A place below which objects are written and read, by its address."""

import hashlib
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from opendet.files import fsync_path, write_durably
from opendet.object_store.address import check_address
from opendet.object_store.errors import code_of, told_plainly

PART_BYTES = 16 * 2**20
"""Of an upload to S3 in several requests; what is shorter than two of them goes in one."""
MOST_PARTS = 10_000
"""That S3 takes of one object."""
_PARTS_AT_ONCE = 2
"""Of one object: with them a publication's memory is bounded, whatever a shard weighs."""
_READ_BYTES = 4 * 2**20
_AGAIN = "publish the data set again"

Kind = Literal["local", "s3", "other"]


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What a store says of an object without sending it."""

    bytes: int
    tag: str = ""
    """S3's ETag: of most objects the MD5 of their bytes, or of their parts' MD5s and their number.
    Empty where the store has none."""


@dataclass(frozen=True)
class Store:
    """All names are relative to the address, with forward slashes. Takes threads.

    Raises StoreError, in one line, for whatever the store refuses.
    """

    address: str
    file_system: AbstractFileSystem = field(repr=False)
    root: str
    """The address as the file system writes it."""

    @property
    def kind(self) -> Kind:
        if isinstance(self.file_system, LocalFileSystem):
            return "local"
        names = self.file_system.protocol
        return "s3" if "s3" in ((names,) if isinstance(names, str) else names) else "other"

    def place(self, name: str) -> str:
        return f"{self.root}/{name}"

    def facts(self, name: str) -> ObjectFacts | None:
        """None where there is no such object."""
        try:
            with told_plainly(self.address):
                return _facts(self.file_system.info(self.place(name)))
        except FileNotFoundError:
            return None

    def is_there(self) -> bool:
        """Whether anything lies at the address."""
        try:
            with told_plainly(self.address):
                self.file_system.info(self.root)
        except FileNotFoundError:
            return False
        return True

    def facts_below(self, name: str) -> dict[str, ObjectFacts]:
        """Of every object below `name`, a thousand in a request; empty for all."""
        with told_plainly(self.address):
            found = self.file_system.find(self.place(name) if name else self.root, detail=True)
        start = len(self.root) + 1
        return {path[start:]: _facts(facts) for path, facts in found.items()}

    def read(self, name: str, *, mend: str = _AGAIN) -> bytes:
        """Raises ValueError, in one line that ends with `mend`, where there is no such object."""
        with self._missing_told(name, mend), told_plainly(self.address):
            return cast(bytes, self.file_system.cat_file(self.place(name)))

    def read_beginning(self, name: str, most: int) -> bytes:
        """So many bytes of an object, or all where it is shorter, in one request.

        Raises FileNotFoundError where there is no such object.
        """
        with told_plainly(self.address):
            try:
                return cast(bytes, self.file_system.cat_file(self.place(name), start=0, end=most))
            except OSError as error:
                if code_of(error) != "InvalidRange":
                    raise
                return b""  # S3 has no range of an empty object

    def sha256_of(self, name: str) -> str:
        """Reads the object once, in pieces."""
        digest = hashlib.sha256()
        with told_plainly(self.address), self.file_system.open(self.place(name), "rb") as file:
            while piece := file.read(_READ_BYTES):
                digest.update(piece)
        return digest.hexdigest()

    def write(self, content: bytes, name: str, **conditions: str) -> None:
        """In one request; a reader sees all of it or nothing. `conditions` are S3's."""
        if self.kind == "local":
            write_durably(Path(self.place(name)), content)
            return
        with told_plainly(self.address):
            self.file_system.pipe_file(self.place(name), content, **conditions)

    def upload(self, path: Path, name: str) -> None:
        if self.kind == "local":
            _copy_durably(path, Path(self.place(name)))
            return
        limits: Mapping[str, int] = {}
        if self.kind == "s3":
            limits = {
                "chunksize": part_bytes(path.stat().st_size),
                "max_concurrency": _PARTS_AT_ONCE,
            }
        with told_plainly(self.address):
            self.file_system.put_file(str(path), self.place(name), **limits)

    def download(self, name: str, path: Path) -> None:
        limits = {"max_concurrency": 1} if self.kind == "s3" else {}
        with self._missing_told(name, _AGAIN), told_plainly(self.address):
            self.file_system.get_file(self.place(name), str(path), **limits)

    @contextmanager
    def _missing_told(self, name: str, mend: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise ValueError(f"{self.address}: {name} is missing: {mend}") from error


def open_store(address: str) -> Store:
    """The store at an address such as s3://bucket/prefix. Nothing is asked of it yet.

    Raises ValueError, in one line, for an address that is none, for one that holds a password or a
    query, and where the file system's own package is missing.
    """
    check_address(address)
    with told_plainly(address):
        try:
            # Without a memory of listings: others write there too.
            file_system, root = url_to_fs(address, use_listings_cache=False)
        except ImportError as error:
            raise ValueError(f"{address}: {_package_of(address)}") from error
        except ValueError as error:
            raise ValueError(f"{address}: {error}: mend the address") from error
    return Store(address.rstrip("/"), file_system, root.rstrip("/"))


def part_bytes(size: int) -> int:
    """Of the parts in which so many bytes are uploaded to S3."""
    return max(PART_BYTES, -(-size // MOST_PARTS))


def _package_of(address: str) -> str:
    protocol = address.partition("://")[0].lower()
    if protocol in ("s3", "s3a"):
        return "s3fs is not installed: pip install 'opendet[s3]'"
    return f"fsspec lacks the package for {protocol}://: install it (gs:// gcsfs, abfs:// adlfs)"


def _facts(told: Mapping[str, Any]) -> ObjectFacts:
    return ObjectFacts(int(told["size"] or 0), str(told.get("ETag") or "").strip('"'))


def _copy_durably(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        shutil.copyfile(source, temporary)
        fsync_path(temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_path(target.parent)
