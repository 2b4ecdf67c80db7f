"""What a collection of samples is read by, and what is said of whatever is not whole in it."""

from dataclasses import dataclass
from pathlib import Path

from opendet.manifest import FileStamp
from opendet.record import Record


@dataclass(frozen=True, slots=True)
class Gone:
    """A sample that left the flow."""

    key: str
    stage: str
    fate: str
    """`dropped` or `quarantined`."""
    reason: str
    """A short phrase that can be counted; of a quarantined one the error."""
    detail: str
    """What concerns this sample alone; of a quarantined one the attempt."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A shard's tar file or a part's file of records. Pickles: processes share work by pieces."""

    name: str
    path: Path
    samples: int
    """As its manifest says; without one, as its index or its own content does."""
    batch: str = ""
    """Of all its records, where a manifest says so."""
    split: str = ""
    """Of all its records, where a manifest says so."""
    files: tuple[tuple[str, FileStamp], ...] = ()
    """File in its folder -> what it must be, where a manifest says so."""

    @property
    def packed(self) -> bool:
        """Whether it holds the images, too."""
        return self.path.suffix == ".tar"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something of a piece that is not whole."""

    where: str
    """The file, and the byte where it has no other name."""
    what: str
    """One line."""
    record: Record | None = None
    """Where that is whole, and the picture, or what the manifest says of it, is not."""

    @property
    def line(self) -> str:
        return f"{self.where}: {self.what}"
