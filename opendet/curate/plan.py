"""The plan: which images make up which shard, once and for all."""

from collections.abc import Iterable

from opendet.manifest import ShardName
from opendet.record import Record


def plan_shards(
    records: Iterable[Record], *, batch: str, split: str, shard_bytes: int, max_samples: int
) -> list[tuple[ShardName, list[Record]]]:
    """Cut a batch's records, in their order, into shards of at most so many bytes and samples.

    An image larger than a whole shard has one for itself. No records, no shards.
    """
    groups: list[list[Record]] = []
    filled = 0  # bytes in the last group
    for record in records:
        full = filled + record.bytes > shard_bytes or (groups and len(groups[-1]) >= max_samples)
        if full or not groups:
            groups.append([])
            filled = 0
        groups[-1].append(record)
        filled += record.bytes
    return [
        (ShardName(f"{batch}-{number:06d}", batch, split), group)
        for number, group in enumerate(groups)
    ]
