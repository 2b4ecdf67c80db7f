"""The plan: every record once, in order, within the budget, every loss booked on one shard."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from opendet.curate.plan import plan_shards
from opendet.manifest import DroppedEntry, PartCommit, QuarantinedEntry, ShardName
from opendet.record import Record
from opendet.sample import Dropped

CHUNKS = st.lists(st.lists(st.one_of(st.integers(1, 50), st.none()), max_size=8), max_size=12)
"""Sizes of the images of each chunk; None for one that is a duplicate."""


def record(number: int, size: int) -> Record:
    return Record(
        key=f"b-{number}",
        source="x",
        batch="b",
        split="train",
        licence="MIT",
        file=f"{number}.jpg",
        format="jpg",
        bytes=size,
        sha256="0" * 64,
        width=1,
        height=1,
    )


def judged(chunks: list[list[int | None]]) -> list[tuple[PartCommit, list[Record | Dropped]]]:
    """Chunks of which each also lost an image as broken and one to the quarantine."""
    number, made = 0, []
    for place, sizes in enumerate(chunks):
        items: list[Record | Dropped] = []
        for size in sizes:
            key = f"b-{number}"
            items.append(record(number, size) if size else Dropped(key, "exact duplicate", "b-0"))
            number += 1
        dropped = (DroppedEntry(f"broken-{place}", "broken image"),)
        failed = (QuarantinedEntry(f"failed-{place}", "source", "OSError", 0),)
        name = ShardName(f"b-{place:06d}", "b", "train")
        count = len(items)
        made.append((PartCommit(name, count + 2, count, dropped, failed, {"n": 1}, {}), items))
    return made


@given(CHUNKS, st.integers(1, 100), st.integers(1, 9))
def test_every_record_once_in_order_within_the_budget(
    chunks: list[list[int | None]], shard_bytes: int, max_samples: int
) -> None:
    came = judged(chunks)
    drafts = list(
        plan_shards(
            iter(came), batch="b", split="train", shard_bytes=shard_bytes, max_samples=max_samples
        )
    )
    kept = [item for _, items in came for item in items if isinstance(item, Record)]
    assert [one for draft in drafts for one in draft.records] == kept
    names = [(draft.name.name, draft.name.batch, draft.name.split) for draft in drafts]
    assert names == [(f"b-{number:06d}", "b", "train") for number in range(max(len(drafts), 1))]
    for number, draft in enumerate(drafts):
        assert len(draft.records) <= max_samples
        assert draft.bytes == sum(one.bytes for one in draft.records)
        assert draft.bytes <= shard_bytes or len(draft.records) == 1
        assert draft.records or not kept
        if number + 1 < len(drafts):  # a shard ends because the next record does not fit
            total = draft.bytes + drafts[number + 1].records[0].bytes
            assert total > shard_bytes or len(draft.records) == max_samples


@given(CHUNKS, st.integers(1, 100), st.integers(1, 9))
def test_what_a_chunk_lost_is_booked_once_where_its_first_good_image_went(
    chunks: list[list[int | None]], shard_bytes: int, max_samples: int
) -> None:
    came = judged(chunks)
    drafts = list(
        plan_shards(
            came, batch="b", split="train", shard_bytes=shard_bytes, max_samples=max_samples
        )
    )
    shard_of = {one.key: draft.name for draft in drafts for one in draft.records}
    home = drafts[0].name
    booked = {entry.key: draft.name for draft in drafts for entry in draft.dropped}
    for part, items in came:
        good = [item.key for item in items if isinstance(item, Record)]
        home = shard_of[good[0]] if good else home
        twins = [item.key for item in items if isinstance(item, Dropped)]
        assert {booked.pop(key) for key in (*twins, part.dropped[0].key)} == {home}
    assert not booked
    assert sum(len(draft.quarantined) for draft in drafts) == len(chunks)
    assert sum(draft.tally["n"] for draft in drafts) == len(chunks)


def test_a_shard_comes_as_soon_as_nothing_more_can_be_put_into_it() -> None:
    chunks = judged([[1] * 6] * 5)
    taken = 0

    def counted() -> Iterator[tuple[PartCommit, list[Record | Dropped]]]:
        nonlocal taken
        for chunk in chunks:
            taken += 1
            yield chunk

    plan = plan_shards(counted(), batch="b", split="train", shard_bytes=100, max_samples=6)
    next(plan)
    assert taken == 2


def test_no_records_one_empty_shard_for_the_ledger() -> None:
    (draft,) = plan_shards([], batch="b", split="val", shard_bytes=1, max_samples=1)
    assert (draft.name.name, draft.name.split, draft.records) == ("b-000000", "val", [])
