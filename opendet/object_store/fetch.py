"""A version of a data set, brought from a store into a folder like the one that was published."""

import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from opendet.files import exclusive_lock, fsync_path, require_folder_place
from opendet.manifest import FileStamp, Manifest, commit_text, read_manifest
from opendet.object_store.pointer import read_pointer
from opendet.object_store.store import Store
from opendet.object_store.version import (
    Version,
    commit_name,
    files_of_parts,
    object_name,
    read_version,
    version_name,
)
from opendet.ordered_map import map_on_threads
from opendet.progress import progress
from opendet.work import link_or_copy, replace_folder


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch came to."""

    version: str
    parts: int
    """Shards, of the stage shards."""
    files: int
    """Of parts; the manifest's own are few."""
    came: int
    """Of them, those that were not here yet."""
    bytes_came: int


def fetch(store: Store, folder: Path, *, version: str = "", transfers: int) -> Fetched:
    """Bring one version, the current one unless another is named, to `folder`.

    Everything comes into a folder beside it, is compared with its SHA-256, and takes its place when
    it is whole; killed anywhere, the next run fetches only what is missing. Where `folder` holds
    another version of the store, what has not changed is taken from there.

    Raises StoreError where the store refuses, and ValueError, in one line, where nothing is
    published, where something in the store is damaged, and for a folder that holds anything that
    the store has not, or another stage.
    """
    require_folder_place(folder)
    folder = folder.resolve()
    if not folder.name:
        raise ValueError(f"{folder} is the whole file system: name a folder in it")
    digest = version or _current(store)
    wanted = read_version(store, digest)
    _require_replaceable(folder, store)  # before a lock is left beside what is refused
    with exclusive_lock(folder.with_name(f".{folder.name}.lock"), what=f"the folder {folder}"):
        earlier = _require_replaceable(folder, store)
        half = folder.with_name(f".{folder.name}.{digest[:16]}.partial")
        _sweep(folder, keep=half)
        manifest = fetch_manifest(store, wanted, half)
        if earlier and earlier.stage != manifest.stage:
            shutil.rmtree(half)
            raise ValueError(
                f"{folder} holds the stage {earlier.stage}, {store.address} {manifest.stage}: "
                "name a folder that is not there yet"
            )
        files = files_of_parts(manifest)
        came = _fetch_files(store, files, half, earlier=folder, transfers=transfers)
        _require_whole(half, {**wanted.files, **files})
        for begun in [*half.rglob(".*.coming"), *half.rglob(".*.copying")]:
            begun.unlink()  # by a run that was killed, of what came by another way since
        for part in manifest.parts:
            (half / commit_name(part)).write_text(commit_text(part), "utf-8")
        fsync_path(half)
        # Once it has changed places with the folder, nobody must take it for half of this version.
        whole = half.rename(f"{half}.whole")
        replace_folder(whole, folder)
        _sweep(folder)
    return Fetched(digest, len(manifest.parts), len(files), len(came), sum(came))


def fetch_manifest(store: Store, version: Version, folder: Path) -> Manifest:
    """Bring the manifest's own files of a version. Raises ValueError where they are damaged."""
    for name, stamp in version.files.items():
        _bring(store, folder, name, stamp)
    return read_manifest(folder)


def _current(store: Store) -> str:
    pointer = read_pointer(store)
    if pointer is None:
        raise ValueError(
            f"{store.address}: no data set is published there: `opendet data publish` puts one "
            "there, or mend the address"
        )
    return pointer.version


def _require_replaceable(folder: Path, store: Store) -> Manifest | None:
    """What the folder holds, None for an empty one. Raises ValueError where it could not be fetched
    again."""
    if not folder.exists() or not any(folder.iterdir()):
        return None
    mend = "name a folder that is not there yet, or move it away"
    try:
        manifest = read_manifest(folder)
        version = Version.of(folder, manifest)
    except ValueError as error:
        raise ValueError(f"{folder} is not empty, and no whole data set: {mend}") from error
    if store.facts(version_name(version.digest)) is None:
        raise ValueError(f"{folder} holds a data set that {store.address} has not: {mend}")
    known = {*version.files, *files_of_parts(manifest), *map(commit_name, manifest.parts)}
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and path.relative_to(folder).as_posix() not in known:
            raise ValueError(f"{path} is no part of the data set there: move it elsewhere")
    return manifest


def _require_whole(half: Path, names: Iterable[str]) -> None:
    """Somebody may clear up beside us: what takes the folder's place is looked at once more."""
    for name in names:
        if not (half / name).is_file():
            raise ValueError(f"{half / name} went missing while the others came: fetch again")


def _fetch_files(
    store: Store, files: Mapping[str, FileStamp], half: Path, *, earlier: Path, transfers: int
) -> list[int]:
    """The sizes of those that had to come from the store."""
    missing = {name: stamp for name, stamp in files.items() if not (half / name).exists()}
    room, needed = shutil.disk_usage(half).free, sum(stamp.bytes for stamp in missing.values())
    if needed > room:
        raise ValueError(
            f"{half.parent} has room for {room} bytes, {needed} are missing: make room, or name a "
            "folder elsewhere"
        )
    bring = partial(_bring_one, store, half, earlier)
    came = []
    with progress("fetch", len(missing)) as advance:
        brought = map_on_threads(bring, list(missing.items()), threads=transfers)
        for done, size in enumerate(brought, 1):
            came += [size] if size is not None else []
            advance(done, f"{sum(came)} bytes")
    return came


def _bring_one(store: Store, half: Path, earlier: Path, item: tuple[str, FileStamp]) -> int | None:
    """The size of a file that came from the store; None where it was here."""
    name, stamp = item
    here = earlier / name
    if here.is_file() and here.stat().st_size == stamp.bytes and FileStamp.of(here) == stamp:
        (half / name).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(here, half / name)
        return None
    _bring(store, half, name, stamp)
    return stamp.bytes


def _bring(store: Store, folder: Path, name: str, stamp: FileStamp) -> None:
    """Bring a file under its name only if it is what its stamp says, and is on the disk."""
    place = folder / name
    if place.exists():  # it got its name once it was found to be right
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    coming = place.with_name(f".{place.name}.coming")
    store.download(object_name(name, stamp), coming)
    if FileStamp.of(coming) != stamp:
        coming.unlink()
        raise ValueError(
            f"{store.address}: {object_name(name, stamp)}, which is {name}, is damaged: publish "
            "the data set again with --verify"
        )
    fsync_path(coming)
    coming.replace(place)


def _sweep(folder: Path, keep: Path | None = None) -> None:
    """Remove what fetches of other versions into this very folder left beside it."""
    ours = re.compile(rf"\.{re.escape(folder.name)}\.[0-9a-f]{{16}}\.partial(\.whole)?(\.aside)?")
    for leftover in folder.parent.iterdir():
        if ours.fullmatch(leftover.name) and leftover != keep:
            shutil.rmtree(leftover)
