"""A sample as the pages show it: what is believed of it, and what became of it."""

from collections.abc import Iterator
from dataclasses import dataclass

from opendet.console import printable
from opendet.inspect.collection import Collection, Gone, Piece, Trouble
from opendet.record import Record, Region

NOT_WHOLE = "not whole"


@dataclass(frozen=True, slots=True)
class Fate:
    """Why a sample is not as the others are."""

    what: str
    """`dropped` or `quarantined`; `not whole` for one whose record is there without its picture."""
    stage: str
    reason: str
    detail: str = ""

    @property
    def told(self) -> str:
        """What the gallery filters by."""
        return self.what if self.reason == self.what else f"{self.what}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A sample of a collection, or one that left its flow."""

    key: str
    record: Record | None
    content: bytes = b""
    """The image's own bytes; empty where there are none."""
    fate: Fate | None = None


def entries(collection: Collection, piece: Piece) -> Iterator[Entry | Trouble]:
    """The samples of a piece in its order; a trouble is what no sample can be shown of."""
    for found in collection.samples(piece):
        if not isinstance(found, Trouble):
            yield Entry(found.key, found.record, found.content)
        elif found.record is None:
            yield found
        else:
            fate = not_whole(collection, found.what)
            yield Entry(found.record.key, found.record, fate=fate)


def not_whole(collection: Collection, why: str) -> Fate:
    return Fate(NOT_WHOLE, collection.stage, NOT_WHOLE, why)


def gone_entry(gone: Gone) -> Entry:
    return Entry(gone.key, None, fate=Fate(gone.fate, gone.stage, gone.reason, gone.detail))


def said_name(region: Region) -> str:
    """What the pages call a region: its first name, else the source's word for it."""
    return said(region.names[0] if region.names else region.label or "", 200)


def said(text: str, most: int) -> str:
    """In one line, without what steers a reader's direction of writing, and cut with a mark."""
    plain = printable(text[: most + 1])
    return plain if len(text) <= most else f"{plain[:most]}…"
