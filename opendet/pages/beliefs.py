"""What two collections may differ in about one sample, small enough to keep for each of many."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from opendet.pages.entry import Entry
from opendet.record import Record

ASPECTS = ("fate", "image", "caption", "boxes", "names", "decisions", "descriptions")
"""What the pages tell apart, by these words."""


@dataclass(frozen=True, slots=True)
class Beliefs:
    """One sample of one collection, by digests."""

    key: str
    piece: int
    place: int
    """Where the pages have it."""
    sha256: str
    """Of the image; empty for a sample without a record."""
    digests: tuple[bytes, ...]
    """One of each aspect, in their order; of the fate alone for a sample without a record."""

    def differing(self, other: "Beliefs") -> tuple[int, ...]:
        """Which aspects differ, by their places. Where one has no record, its fate says it all."""
        pairs = zip(self.digests, other.digests, strict=False)
        return tuple(place for place, (own, its) in enumerate(pairs) if own != its)


def beliefs_of(entry: Entry, *, piece: int, place: int) -> Beliefs:
    fate = (entry.fate.what, entry.fate.reason) if entry.fate else ()
    aspects = [_digest(fate), *(_aspects(entry.record) if entry.record else ())]
    sha256 = entry.record.sha256 if entry.record else ""
    return Beliefs(entry.key, piece, place, sha256, tuple(aspects))


def _aspects(record: Record) -> list[bytes]:
    regions = record.regions
    return [
        _digest([record.sha256]),
        _digest([record.caption, *(repr((p.start, p.end, p.regions)) for p in record.phrases)]),
        _digest(repr((one.box_xyxy, one.crowd, one.mask and one.mask.counts)) for one in regions),
        _digest(repr((one.names, one.label)) for one in regions),
        _digest(one.refusal for one in regions),
        _digest(one.description for one in regions),
    ]


def _digest(texts: Iterable[str]) -> bytes:
    hashed = blake2b(digest_size=8)
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        hashed.update(len(encoded).to_bytes(8, "little") + encoded)
    return hashed.digest()
