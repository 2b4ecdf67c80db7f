"""Duplicates, judged by who came first: an image is compared with images before it, never after.

So a batch is judged against itself and earlier ones, and adding a batch changes nothing before it.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

from opendet.curate.source import SourceConfig
from opendet.record import Record
from opendet.sample import Dropped

HASH_BITS = 64


def deduplicate(records: Iterable[Record], config: SourceConfig) -> list[Record | Dropped]:
    """One outcome per record, in their order: batch by batch, sorted by key within each.

    Drops what has the key of an earlier record, whatever became of that, or the bytes of one that
    stays; drops or flags what looks like an earlier one.
    Whatever is flagged names a record that is not flagged itself.
    """
    keys: set[str] = set()
    key_of_bytes: dict[str, str] = {}
    looks = LookIndex(config.near_duplicate_bits)
    outcomes: list[Record | Dropped] = []
    for record in records:
        outcome: Record | Dropped
        if record.key in keys:
            outcome = Dropped(record.key, "duplicate key", record.file)
        elif record.sha256 in key_of_bytes:
            outcome = Dropped(record.key, "exact duplicate", key_of_bytes[record.sha256])
        else:
            outcome = _judge_looks(record, looks, config)
            if isinstance(outcome, Record):  # so that a drop names an image that stays
                key_of_bytes[record.sha256] = record.key
        keys.add(record.key)
        outcomes.append(outcome)
    return outcomes


def _judge_looks(record: Record, looks: "LookIndex", config: SourceConfig) -> Record | Dropped:
    if config.near_duplicates == "keep":
        return record
    code = int(record.phash, 16)
    twin = looks.nearest(code)
    if twin is None:
        looks.add(code, record.key)
        return record
    if config.near_duplicates == "drop":
        return Dropped(record.key, "near duplicate", twin)
    return replace(record, near_duplicate_of=twin)


class LookIndex:
    """Finds hashes within `bits` of a given one without looking at all of them.

    Cut into bits + 1 bands, two hashes that differ in at most `bits` bits agree in one band whole.
    """

    def __init__(self, bits: int) -> None:
        edges = [HASH_BITS * band // (bits + 1) for band in range(bits + 2)]
        self._bits = bits
        self._bands = [(low, (1 << (high - low)) - 1) for low, high in pairwise(edges)]
        self._buckets: list[defaultdict[int, list[int]]] = [defaultdict(list) for _ in self._bands]
        self._known: list[tuple[int, str]] = []

    def add(self, code: int, key: str) -> None:
        for (shift, mask), buckets in zip(self._bands, self._buckets, strict=True):
            buckets[code >> shift & mask].append(len(self._known))
        self._known.append((code, key))

    def nearest(self, code: int) -> str | None:
        """The key of the closest hash within reach, the earliest of equally close ones."""
        near = (
            ((self._known[number][0] ^ code).bit_count(), number)
            for (shift, mask), buckets in zip(self._bands, self._buckets, strict=True)
            for number in buckets.get(code >> shift & mask, ())
        )
        distance, number = min(near, default=(HASH_BITS + 1, -1))
        return self._known[number][1] if distance <= self._bits else None
