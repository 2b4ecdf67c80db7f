"""What a stage wrote: the commit record of a part, and the manifest of all parts.

A part is a stage's output of one shard. Its commit record is written last, so a part that has one
is whole. Readers follow the manifest and never glob. One identity holds for each part and for the
whole: in = out + dropped + quarantined.
"""

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from opendet.files import canonical_json, sha256_of, write_durably

MANIFEST_VERSION = 1


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What a file must weigh and hash to."""

    bytes: int
    sha256: str

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
    version: int = MANIFEST_VERSION

    def tally(self) -> Counter[str]:
        """The parts' tallies, added up."""
        return sum((Counter(part.tally) for part in self.parts), Counter())

    def of_split(self, split: str) -> tuple[PartCommit, ...]:
        return tuple(part for part in self.parts if part.shard.split == split)


_MANIFEST: TypeAdapter[Manifest] = TypeAdapter(Manifest)
_COMMIT: TypeAdapter[PartCommit] = TypeAdapter(PartCommit)


def commit_text(commit: PartCommit) -> str:
    """The JSON text of a commit record."""
    return canonical_json(asdict(commit))


def read_commit(path: Path) -> PartCommit:
    """Raises ValueError, in one line, for a file that is no commit record."""
    commit: PartCommit = _read(_COMMIT, path)
    return commit


def write_manifest(folder: Path, manifest: Manifest) -> None:
    write_durably(folder / "manifest.json", canonical_json(asdict(manifest)).encode())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a stage's folder. Raises ValueError, in one line, where there is none."""
    manifest: Manifest = _read(_MANIFEST, folder / "manifest.json")
    if manifest.version != MANIFEST_VERSION:
        raise ValueError(
            f"{folder}/manifest.json has version {manifest.version}, this Open-Det reads "
            f"{MANIFEST_VERSION}: build the stage again"
        )
    return manifest


def _read(adapter: TypeAdapter[Any], path: Path) -> Any:
    try:
        return adapter.validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: build the stage first") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ValueError(f"{path} is damaged at {where or 'its root'}: {first['msg']}") from error
