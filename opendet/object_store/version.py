"""A version of a stage's folder in a store: the manifest's own files, and so all that it names."""

import hashlib
import re
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from pydantic import TypeAdapter, ValidationError

from opendet.files import canonical_json
from opendet.manifest import MANIFEST, PAGES, FileStamp, Manifest, PartCommit, manifest_files
from opendet.object_store.store import Store
from opendet.shards import WIDS_INDEX

FORMAT = 1
OBJECTS = "objects"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(rf"{re.escape(MANIFEST)}|{re.escape(WIDS_INDEX)}|{PAGES}/\d{{6,}}\.json")


@dataclass(frozen=True, slots=True)
class Version:
    """What `versions/<digest>.json` holds. It grows by a line for each thousand shards."""

    files: dict[str, FileStamp]
    """The manifest, its pages and, of shards, the list of wids, by their names in the folder."""
    format: int = FORMAT

    @classmethod
    def of(cls, folder: Path, manifest: Manifest) -> "Version":
        """Of a stage's published folder. Raises ValueError for one that lacks a file."""
        names = manifest_files(len(manifest.parts))
        if manifest.stage == "shards":
            names.append(WIDS_INDEX)
        for name in names:
            if not (folder / name).is_file():
                raise ValueError(
                    f"{folder / name} is missing: restore it, or build the stage again"
                )
        return cls({name: FileStamp.of(folder / name) for name in names})

    @property
    def content(self) -> bytes:
        return canonical_json(asdict(self)).encode()

    @property
    def digest(self) -> str:
        """The SHA-256 of its content, by which it is called."""
        return hashlib.sha256(self.content).hexdigest()


_VERSION: TypeAdapter[Version] = TypeAdapter(Version)


def version_name(digest: str) -> str:
    """Raises ValueError for what is no version's digest."""
    if not _SHA256.fullmatch(digest):
        raise ValueError(
            f"{digest[:80]!r} is no version: give the 64 hex digits that `opendet data publish` "
            "told, or none for the current one"
        )
    return f"versions/{digest}.json"


def read_version(store: Store, digest: str) -> Version:
    """Raises ValueError, in one line, where it is missing, damaged or of another format."""
    name = version_name(digest)
    content = store.read(name, mend="name a version that is there, or publish the data set again")
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"{store.address}: {name} is damaged: publish the data set again")
    try:
        version = _VERSION.validate_json(content)
    except ValidationError as error:
        raise ValueError(
            f"{store.address}: {name} is of a form that this Open-Det does not read"
        ) from error
    if version.format != FORMAT or any(not _NAME.fullmatch(file) for file in version.files):
        raise ValueError(f"{store.address}: {name} was written by another Open-Det: update it")
    return version


def object_name(file: str, stamp: FileStamp) -> str:
    """Where a file of this content lies below the address. Its suffix is kept for other readers."""
    suffix = PurePosixPath(file).suffix
    return f"{OBJECTS}/{stamp.sha256[:2]}/{stamp.sha256}{suffix}"


def files_of_parts(manifest: Manifest) -> dict[str, FileStamp]:
    """Every file that a manifest names. Raises ValueError for names that no stage gives its files:
    whoever may write to a store could put them there."""
    files: dict[str, FileStamp] = {}
    own = {*manifest_files(len(manifest.parts)), WIDS_INDEX}
    own.update(commit_name(part) for part in manifest.parts)
    for part in manifest.parts:
        for name, stamp in part.files.items():
            if not _is_plain(name) or name in files or name in own:
                raise ValueError(f"{name[:120]!r} is no file that a stage would write")
            files[name] = stamp
    return files


def commit_name(part: PartCommit) -> str:
    """Of the copy of a part's commit record beside it. Raises ValueError like `files_of_parts`."""
    name = f"{part.shard.name}.json"
    if not _is_plain(name) or "/" in name:
        raise ValueError(f"{name[:120]!r} is no commit record that a stage would write")
    return name


def _is_plain(name: str) -> bool:
    """Whether a name leads to a file below the folder, and to no hidden one."""
    steps = name.split("/")
    return name.isprintable() and all(step and not step.startswith(".") for step in steps)
