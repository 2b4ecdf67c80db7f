"""Puts files into a store under the names of their bytes, and looks whether they arrived."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from opendet.manifest import FileStamp
from opendet.object_store.store import ObjectFacts, Store, part_bytes


@dataclass(frozen=True, slots=True)
class Digests:
    """What a file hashes to."""

    sha256: str
    tag: str
    """S3's ETag of it: its MD5, or, where it comes in several parts, that of the parts' MD5s."""

    @classmethod
    def of(cls, path: Path) -> "Digests":
        """Reads the file once."""
        sha256, md5s, size = hashlib.sha256(), [], part_bytes(path.stat().st_size)
        in_parts = path.stat().st_size >= 2 * size
        with path.open("rb") as file:
            while content := file.read(size if in_parts else 2 * size):
                sha256.update(content)
                md5s.append(_md5(content))
        if in_parts:
            parts = b"".join(md5.digest() for md5 in md5s)
            return cls(sha256.hexdigest(), f"{_md5(parts).hexdigest()}-{len(md5s)}")
        return cls(sha256.hexdigest(), (md5s or [_md5(b"")])[0].hexdigest())


@dataclass(frozen=True, slots=True)
class Upload:
    """A file, and the object that it is to be."""

    path: Path
    name: str
    stamp: FileStamp


def settle(
    store: Store, upload: Upload, there: Mapping[str, ObjectFacts], *, trusted: bool
) -> bool:
    """Make sure that the store has the object; returns whether it had to be sent.

    `there` is what the store has already. What has the right size there is looked at once more,
    unless it is `trusted`, and not sent again if it is right. Raises ValueError, in one line, where
    the file is not what its stamp says, and where the store keeps something else than was sent.
    """
    found = there.get(upload.name)
    sized = found is not None and found.bytes == upload.stamp.bytes
    if sized and trusted:
        return False
    digests = Digests.of(upload.path)
    if digests.sha256 != upload.stamp.sha256:
        raise ValueError(
            f"{upload.path} is not what the manifest says: it is damaged (`opendet data verify`), "
            "or was built anew meanwhile (publish again)"
        )
    if sized and found and _is_right(store, upload, found, digests):
        return False
    store.upload(upload.path, upload.name)
    arrived = store.facts(upload.name)
    if arrived is None or not _is_right(store, upload, arrived, digests):
        raise ValueError(
            f"{store.address}: {upload.name} is not what was sent: publish again; what is there "
            "whole is not sent twice"
        )
    return True


def _is_right(store: Store, upload: Upload, facts: ObjectFacts, digests: Digests) -> bool:
    """By size and tag, or, where the tag is no hash of the bytes (an encrypted object's, another
    store's), by reading the object."""
    if facts.bytes != upload.stamp.bytes:
        return False
    return facts.tag == digests.tag or store.sha256_of(upload.name) == upload.stamp.sha256


def _md5(content: bytes) -> "hashlib._Hash":
    return hashlib.md5(content, usedforsecurity=False)
