"""The records of a build's shards as the exports read them, with the images' own bytes."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from opendet.corrections.applying import CORRECTED_AWAY
from opendet.record import Record
from opendet.shard_set import ShardSet


class ShardRecords:
    """The records of shards, read one by one and as often as they are asked for.

    With `refused`, as if the rules of the stage `filter` had refused nothing. Counts what a round
    gave: images, and the boxes that are to be written.
    """

    def __init__(self, shards: ShardSet, *, refused: bool) -> None:
        self._shards = shards
        self.refused = refused
        self.images = 0
        self.boxes = 0

    def __iter__(self) -> Iterator[Record]:
        self.images = self.boxes = 0
        for index in range(len(self._shards)):
            record = self._shards.record(index)
            if self.refused:
                record = without_refusals(record)
            self.images += 1
            self.boxes += sum(region.kept for region in record.regions)
            yield record

    def content_of(self, record: Record) -> bytes:
        """The image's own bytes. Raises ValueError, in one line, where they are damaged."""
        keys, order = self._places
        place = int(np.searchsorted(keys, np.bytes_(record.key)))
        sample = self._shards.sample(int(order[place]))
        assert sample.key == record.key
        return sample.content

    @cached_property
    def _places(self) -> tuple[NDArray[np.bytes_], NDArray[np.int64]]:
        """All keys in order, and the place of each in the shards."""
        keys = np.concatenate([shard.keys for shard in self._shards.shards])
        order = np.argsort(keys, kind="stable")
        return keys[order], order


def without_refusals(record: Record) -> Record:
    """The record with all of its regions kept, but for those that people deleted."""
    regions = (
        one if one.refusal == CORRECTED_AWAY else replace(one, refusal="") for one in record.regions
    )
    return replace(record, regions=tuple(regions))
