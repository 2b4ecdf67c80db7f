"""A stage's published folder, put into a store so that readers see the old version or the new."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from opendet.manifest import FileStamp, Manifest, read_manifest
from opendet.object_store.fetch import fetch_manifest
from opendet.object_store.pointer import Pointer, move_pointer, read_pointer, sole_publisher
from opendet.object_store.store import Store
from opendet.object_store.upload import Upload, settle
from opendet.object_store.version import (
    OBJECTS,
    Version,
    files_of_parts,
    object_name,
    read_version,
    version_name,
)
from opendet.ordered_map import map_on_threads
from opendet.progress import progress

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Published:
    """What a publication came to."""

    version: str
    parts: int
    """Shards, of the stage shards."""
    files: int
    sent: int
    """Files that were not there yet."""
    bytes_sent: int


def publish(folder: Path, store: Store, *, transfers: int, verify: bool = False) -> Published:
    """Make a stage's published folder, such as the shards', the data set at the store's address.

    Killed or failing anywhere, readers go on to see what was there before, and the next run sends
    only what is missing. What the version before names was looked at when it was sent, and is taken
    by its size unless `verify` asks for another look. Raises ValueError, in one line, for a folder
    that is not whole and for an address that holds another stage, StoreError for whatever the store
    refuses, and RacedError where another publication came first.
    """
    if store.address.lower().startswith(("http://", "https://")):
        raise ValueError(f"{store.address} is for fetching: publish to the store's own address")
    manifest = read_manifest(folder)
    if manifest.stage == "source":
        raise ValueError(
            f"{folder} has drawn images beside what its manifest names: publish shards, which "
            "hold them"
        )
    version = Version.of(folder, manifest)
    uploads = _uploads(folder, {**files_of_parts(manifest), **version.files})
    with sole_publisher(store):
        before = read_pointer(store)
        there = _read(store, before) if before else None
        if there and there[1].stage != manifest.stage:
            raise ValueError(
                f"{store.address} holds the stage {there[1].stage}: publish {manifest.stage} to an "
                "address of its own"
            )
        known = frozenset() if verify or there is None else _objects(*there)
        sent = _send(store, uploads, known, transfers=transfers)
        _write_version(store, version)
        if before is None or before.version != version.digest:
            move_pointer(store, before, version.digest)
    sizes = [upload.stamp.bytes for upload in sent]
    return Published(version.digest, len(manifest.parts), len(uploads), len(sizes), sum(sizes))


def _uploads(folder: Path, files: dict[str, FileStamp]) -> list[Upload]:
    """One for each object. Raises ValueError, before anything is sent, for a file that is missing
    or cut short."""
    for name, stamp in files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != stamp.bytes:
            raise ValueError(
                f"{path} is missing or cut short: restore it, or build the stage again"
            )
    # Files of equal bytes are one object.
    unique = {object_name(name, stamp): (name, stamp) for name, stamp in files.items()}
    return [Upload(folder / name, place, stamp) for place, (name, stamp) in unique.items()]


def _read(store: Store, before: Pointer) -> tuple[Version, Manifest] | None:
    """The version that readers see; None where it is damaged."""
    try:
        version = read_version(store, before.version)
        with TemporaryDirectory() as folder:
            manifest = fetch_manifest(store, version, Path(folder))
        files_of_parts(manifest)
    except ValueError as error:
        log.warning("%s; every object that is there is looked at again", error)
        return None
    return version, manifest


def _objects(version: Version, manifest: Manifest) -> frozenset[str]:
    files = {**files_of_parts(manifest), **version.files}
    return frozenset(object_name(*item) for item in files.items())


def _send(
    store: Store, uploads: Sequence[Upload], known: frozenset[str], *, transfers: int
) -> list[Upload]:
    """Those that were not there yet, or not right."""
    there = store.facts_below(OBJECTS)

    def settled(upload: Upload) -> bool:
        return settle(store, upload, there, trusted=upload.name in known)

    sent = []
    with progress("publish", len(uploads)) as advance:
        came = map_on_threads(settled, uploads, threads=transfers)
        for done, (upload, was_sent) in enumerate(zip(uploads, came, strict=True), 1):
            sent += [upload] * was_sent
            advance(done, f"{len(sent)} sent")
    return sent


def _write_version(store: Store, version: Version) -> None:
    name = version_name(version.digest)
    if store.facts(name) is not None and store.read(name) == version.content:
        return
    store.write(version.content, name)
    if store.read(name) != version.content:
        raise ValueError(f"{store.address}: {name} is not what was sent: publish again")
