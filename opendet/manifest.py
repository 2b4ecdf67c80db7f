"""What a stage wrote: the commit record of a part, and the manifest of all parts.

A part is a stage's output of one shard. Its commit record is written last, so a part that has one
is whole. Readers follow the manifest and never glob. One identity holds for each part and for the
whole: in = out + dropped + quarantined.

A manifest of many parts is cut into pages, so that no file of it grows with the build:
`manifest.json` then names each page with its hash, and `manifest/000000.json` holds the first
thousand parts.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from opendet.files import canonical_json, errors_name, sha256_of, write_durably

MANIFEST_VERSION = 1
PAGED_VERSION = 2
"""Of a manifest in pages: who does not know of them must not take it for an empty one."""
PARTS_PER_PAGE = 1000
MANIFEST = "manifest.json"
PAGES = "manifest"
"""The folder of the pages, beside `manifest.json`."""


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What a file must weigh and hash to."""

    bytes: int
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of the form that it is read in: notes and objects have their names from it."""

    @classmethod
    def of(cls, path: Path) -> "FileStamp":
        return cls(path.stat().st_size, sha256_of(path))


@dataclass(frozen=True, slots=True)
class ShardName:
    """One shard of the frozen plan: the unit of work, retry, resume and output."""

    name: str
    """`<batch>-<nnnnnn>`, zero padded, no gaps within a batch."""
    batch: str
    split: str


@dataclass(frozen=True, slots=True)
class DroppedEntry:
    """A sample that a stage refused."""

    key: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class QuarantinedEntry:
    """A sample that a stage failed on; `opendet data retry` tries it again."""

    key: str
    stage: str
    error: str
    attempt: int
    """0 for the first try, one more with each `retry`."""


@dataclass(frozen=True, slots=True)
class PartCommit:
    """The commit record of one part."""

    shard: ShardName
    samples_in: int
    samples_out: int
    dropped: tuple[DroppedEntry, ...]
    quarantined: tuple[QuarantinedEntry, ...]
    tally: dict[str, int]
    """Whatever else the stage counts, such as `refused.disagrees`."""
    files: dict[str, FileStamp]
    """File name in the stage's folder -> what it must be."""
    inputs: dict[str, str] = field(default_factory=dict)
    """What the part was made from: name -> sha256."""

    def __post_init__(self) -> None:
        assert self.samples_in == self.samples_out + len(self.dropped) + len(self.quarantined), (
            f"{self.shard.name}: {self.samples_in} samples in, {self.samples_out} out, "
            f"{len(self.dropped)} dropped, {len(self.quarantined)} quarantined"
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """All parts of a stage, in the plan's order."""

    stage: str
    fingerprint: str
    """Of the stage's code, parameters and models; the parts' inputs are in their commit records."""
    parts: tuple[PartCommit, ...]

    def tally(self) -> Counter[str]:
        """The parts' tallies, added up."""
        return sum((Counter(part.tally) for part in self.parts), Counter())

    def of_split(self, split: str) -> tuple[PartCommit, ...]:
        return tuple(part for part in self.parts if part.shard.split == split)


@dataclass(frozen=True, slots=True)
class _Head:
    """`manifest.json`: the parts themselves, or the pages that hold them."""

    stage: str
    fingerprint: str
    version: int
    parts: tuple[PartCommit, ...] = ()
    pages: dict[str, FileStamp] = field(default_factory=dict)


_HEAD: TypeAdapter[_Head] = TypeAdapter(_Head)
_PAGE: TypeAdapter[tuple[PartCommit, ...]] = TypeAdapter(tuple[PartCommit, ...])
_COMMIT: TypeAdapter[PartCommit] = TypeAdapter(PartCommit)


def commit_text(commit: PartCommit) -> str:
    """The JSON text of a commit record."""
    return canonical_json(asdict(commit))


def read_commit(path: Path) -> PartCommit:
    """Raises ValueError, in one line, for a file that is no commit record."""
    commit: PartCommit = _read(_COMMIT, path)
    return commit


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it, `manifest.json` last."""
    told: dict[str, Any] = {"stage": manifest.stage, "fingerprint": manifest.fingerprint}
    if len(manifest.parts) <= PARTS_PER_PAGE:
        told |= {"version": MANIFEST_VERSION, "parts": [asdict(part) for part in manifest.parts]}
    else:
        pages = dict(_write_page(folder, *page) for page in _pages(manifest.parts))
        told |= {"version": PAGED_VERSION, "pages": pages}
    write_durably(folder / MANIFEST, canonical_json(told).encode())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a stage's folder.

    Raises ValueError, in one line, where there is none, or where one of its files is damaged.
    """
    path = folder / MANIFEST
    head: _Head = _read(_HEAD, path)
    if head.version not in (MANIFEST_VERSION, PAGED_VERSION):
        raise ValueError(
            f"{path} has version {head.version}, this Open-Det reads {MANIFEST_VERSION} and "
            f"{PAGED_VERSION}: build the stage again"
        )
    pages = (_read_page(folder, name, stamp) for name, stamp in sorted(head.pages.items()))
    parts = (*head.parts, *(part for page in pages for part in page))
    return Manifest(head.stage, head.fingerprint, parts)


def manifest_files(parts: int) -> list[str]:
    """The files that a manifest of so many parts is made of, below its stage's folder."""
    if parts <= PARTS_PER_PAGE:
        return [MANIFEST]
    return [*(_page_name(start) for start in range(0, parts, PARTS_PER_PAGE)), MANIFEST]


def _pages(parts: tuple[PartCommit, ...]) -> Iterator[tuple[str, tuple[PartCommit, ...]]]:
    for start in range(0, len(parts), PARTS_PER_PAGE):
        yield _page_name(start), parts[start : start + PARTS_PER_PAGE]


def _page_name(start: int) -> str:
    return f"{PAGES}/{start // PARTS_PER_PAGE:06d}.json"


def _write_page(
    folder: Path, name: str, parts: tuple[PartCommit, ...]
) -> tuple[str, dict[str, Any]]:
    content = canonical_json([asdict(part) for part in parts]).encode()
    write_durably(folder / name, content)
    return name, asdict(FileStamp(len(content), hashlib.sha256(content).hexdigest()))


def _read_page(folder: Path, name: str, stamp: FileStamp) -> tuple[PartCommit, ...]:
    path = folder / name
    if not re.fullmatch(rf"{PAGES}/\d{{6,}}\.json", name):
        raise ValueError(f"{folder / MANIFEST} is damaged: {name[:120]!r} is no page of it")
    if path.is_file() and FileStamp.of(path) != stamp:
        raise ValueError(f"{path} is damaged: it is not the page that {MANIFEST} names")
    page: tuple[PartCommit, ...] = _read(_PAGE, path)
    return page


def _read(adapter: TypeAdapter[Any], path: Path) -> Any:
    try:
        with errors_name(path):
            return adapter.validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: build the stage first") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ValueError(
            f"{path} is damaged at {where or 'its root'}: {first['msg']}; build the stage again"
        ) from error
