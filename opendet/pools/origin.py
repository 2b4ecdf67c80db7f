"""What a pool was made from, where no build's stage made it: `origin.json` beside the pool."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from opendet.files import sha256_of, write_json_durably
from opendet.typed_json import read_json

FILE = "origin.json"


@dataclass(frozen=True, slots=True)
class OriginFile:
    """A file of vectors and the file that names them."""

    vectors: str
    """The file's name; where it lay is of no use elsewhere."""
    sha256: str
    names: str
    names_sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Origin:
    files: tuple[OriginFile, ...]
    settings: dict[str, Any]
    """Of the clustering."""


def origin_file(vectors: Path, names: Path | None, rows: int) -> OriginFile:
    return OriginFile(
        vectors=vectors.name,
        sha256=sha256_of(vectors),
        names=names.name if names else "",
        names_sha256=sha256_of(names) if names else "",
        rows=rows,
    )


def write_origin(folder: Path, origin: Origin) -> None:
    write_json_durably(folder / FILE, asdict(origin))


def read_origin(folder: Path) -> Origin | None:
    """None where a build's stage made the pool. Raises ValueError for a damaged file."""
    return read_json(Origin, folder / FILE) if (folder / FILE).is_file() else None
