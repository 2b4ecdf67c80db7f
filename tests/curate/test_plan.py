"""The plan: every record once, in order, within the budget, and fixed for what is there."""

from hypothesis import given
from hypothesis import strategies as st

from opendet.curate.plan import plan_shards
from opendet.record import Record


def records_of(sizes: list[int]) -> list[Record]:
    return [
        Record(
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
        for number, size in enumerate(sizes)
    ]


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 100), st.integers(1, 9))
def test_every_record_once_in_order_within_the_budget(
    sizes: list[int], shard_bytes: int, max_samples: int
) -> None:
    records = records_of(sizes)
    plan = plan_shards(
        iter(records), batch="b", split="train", shard_bytes=shard_bytes, max_samples=max_samples
    )
    assert [record for _, group in plan for record in group] == records
    assert [name.name for name, _ in plan] == [f"b-{number:06d}" for number in range(len(plan))]
    for number, (name, group) in enumerate(plan):
        assert (name.batch, name.split) == ("b", "train")
        assert 1 <= len(group) <= max_samples
        assert sum(record.bytes for record in group) <= shard_bytes or len(group) == 1
        if number + 1 < len(plan):  # a shard ends because the next record does not fit
            grown = [*group, plan[number + 1][1][0]]
            total = sum(record.bytes for record in grown)
            assert total > shard_bytes or len(grown) > max_samples


def test_no_records_no_shards() -> None:
    assert plan_shards([], batch="b", split="val", shard_bytes=1, max_samples=1) == []
