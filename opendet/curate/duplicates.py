"""Duplicates, judged by who came first: an image is compared with images before it, never after.

So a batch is judged against itself and earlier ones, and adding a batch changes nothing before it.
"""

from array import array
from dataclasses import replace
from itertools import pairwise

import numpy as np

from opendet.curate.source import SourceConfig
from opendet.record import Record
from opendet.sample import Dropped

HASH_BITS = 64
_FEW = 24  # Below, Python is faster than a call of numpy.


class DuplicateJudge:
    """Says of one image after the other whether it came before.

    It remembers keys and hashes, a few hundred bytes an image, and none of the records.
    """

    def __init__(self, config: SourceConfig) -> None:
        self._config = config
        self._keys: set[str] = set()
        self._key_of_bytes: dict[bytes, str] = {}
        self._looks = LookIndex(config.near_duplicate_bits)

    def __call__(self, record: Record) -> Record | Dropped:
        """Drops what has the key of an earlier record, whatever became of that, or the bytes of one
        that stays; drops or flags what looks like an earlier one.

        Whatever is flagged names a record that is not flagged itself.
        """
        outcome: Record | Dropped
        sha256 = bytes.fromhex(record.sha256)
        if record.key in self._keys:
            outcome = Dropped(record.key, "duplicate key", record.file)
        elif sha256 in self._key_of_bytes:
            outcome = Dropped(record.key, "exact duplicate", self._key_of_bytes[sha256])
        else:
            outcome = self._judge_looks(record)
            if isinstance(outcome, Record):  # so that a drop names an image that stays
                self._key_of_bytes[sha256] = record.key
        self._keys.add(record.key)
        return outcome

    def _judge_looks(self, record: Record) -> Record | Dropped:
        if self._config.near_duplicates == "keep":
            return record
        code = int(record.phash, 16)
        twin = self._looks.nearest(code)
        if twin is None:
            self._looks.add(code, record.key)
            return record
        if self._config.near_duplicates == "drop":
            return Dropped(record.key, "near duplicate", twin)
        return replace(record, near_duplicate_of=twin)


class LookIndex:
    """Finds hashes within `bits` of a given one without looking at all of them.

    Cut into bits + 1 bands, two hashes that differ in at most `bits` bits agree in one band whole.
    A band's bucket is an array, which numpy compares at once: a hundred bytes an image, and a
    bucket of thousands costs microseconds.
    """

    def __init__(self, bits: int) -> None:
        edges = [HASH_BITS * band // (bits + 1) for band in range(bits + 2)]
        self._bits = bits
        self._bands = [(low, (1 << (high - low)) - 1) for low, high in pairwise(edges)]
        self._buckets: list[dict[int, _Bucket]] = [{} for _ in self._bands]
        self._keys: list[str] = []

    def add(self, code: int, key: str) -> None:
        for (shift, mask), buckets in zip(self._bands, self._buckets, strict=True):
            bucket = buckets.setdefault(code >> shift & mask, _Bucket())
            bucket.codes.append(code)
            bucket.numbers.append(len(self._keys))
        self._keys.append(key)

    def nearest(self, code: int) -> str | None:
        """The key of the closest hash within reach, the earliest of equally close ones."""
        found = (
            buckets[code >> shift & mask].nearest(code)
            for (shift, mask), buckets in zip(self._bands, self._buckets, strict=True)
            if code >> shift & mask in buckets
        )
        distance, number = min(found, default=(HASH_BITS + 1, -1))
        return self._keys[number] if distance <= self._bits else None


class _Bucket:
    """Hashes that agree in one band, and their numbers, in the order in which they came."""

    __slots__ = ("codes", "numbers")

    def __init__(self) -> None:
        self.codes, self.numbers = array("Q"), array("Q")

    def nearest(self, code: int) -> tuple[int, int]:
        """The distance and the number of the closest, the earliest of equally close ones."""
        if len(self.codes) < _FEW:
            return min(
                ((known ^ code).bit_count(), number)
                for known, number in zip(self.codes, self.numbers, strict=True)
            )
        distances = np.bitwise_count(np.frombuffer(self.codes, np.uint64) ^ np.uint64(code))
        place = int(distances.argmin())
        return int(distances[place]), self.numbers[place]
