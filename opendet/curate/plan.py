"""The plan: which images make up which shard, once and for all.

It is cut as the images come, so that no more than the shards that are still open is held in memory.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from opendet.manifest import DroppedEntry, PartCommit, QuarantinedEntry, ShardName
from opendet.record import Record
from opendet.sample import Dropped


@dataclass(slots=True)
class Draft:
    """A shard while it is being filled, and its ledger."""

    name: ShardName
    records: list[Record] = field(default_factory=list)
    bytes: int = 0
    """Of its images."""
    dropped: list[DroppedEntry] = field(default_factory=list)
    quarantined: list[QuarantinedEntry] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)

    def book(self, chunk: PartCommit, twins: Iterable[Dropped]) -> None:
        """Put down what was refused of a chunk when it was checked, and then as a duplicate."""
        self.dropped += chunk.dropped
        self.dropped += [DroppedEntry(twin.key, twin.reason, twin.detail) for twin in twins]
        self.quarantined += chunk.quarantined
        self.tally.update(chunk.tally)


def plan_shards(
    chunks: Iterable[tuple[PartCommit, Sequence[Record | Dropped]]],
    *,
    batch: str,
    split: str,
    shard_bytes: int,
    max_samples: int,
) -> Iterator[Draft]:
    """Cut a batch, which comes in chunks, into shards of at most so many bytes and samples.

    A chunk is what was checked together, and what became of the images that passed. What it lost is
    booked on the shard of its first good image; where it has none, on the shard of the chunk before
    it. An image larger than a whole shard has one for itself; a batch of no good image has one
    shard, an empty one. A shard comes once nothing more can be put into it.
    """
    count = 0

    def begin() -> Draft:
        nonlocal count
        count += 1
        return Draft(ShardName(f"{batch}-{count - 1:06d}", batch, split))

    home = begin()
    drafts = deque([home])
    for chunk, judged in chunks:
        first: Draft | None = None
        for record in judged:
            if isinstance(record, Dropped):
                continue
            last = drafts[-1]
            too_large = last.bytes + record.bytes > shard_bytes or len(last.records) >= max_samples
            if last.records and too_large:
                drafts.append(begin())
            drafts[-1].records.append(record)
            drafts[-1].bytes += record.bytes
            first = first or drafts[-1]
        home = first or home
        home.book(chunk, (item for item in judged if isinstance(item, Dropped)))
        while drafts[0] is not home:
            yield drafts.popleft()
    yield from drafts
