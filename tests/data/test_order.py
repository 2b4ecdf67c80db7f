"""Every sample once an epoch, shared among the ranks, in an order that only the seed decides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendet.data.order import epoch_batches, sample_rng


@given(
    count=st.integers(1, 200),
    batch_size=st.integers(1, 9),
    world=st.integers(1, 5),
    epoch=st.integers(0, 3),
    drop_last=st.booleans(),
)
def test_ranks_partition_the_samples(
    count: int, batch_size: int, world: int, epoch: int, drop_last: bool
) -> None:
    step = batch_size * world
    if count < (step if drop_last else world):
        with pytest.raises(ValueError, match="too few"):
            epoch_batches(
                count, seed=1, epoch=epoch, batch_size=batch_size, drop_last=drop_last, world=world
            )
        return
    ranks = [
        epoch_batches(
            count, seed=1, epoch=epoch, batch_size=batch_size, drop_last=drop_last,
            rank=rank, world=world,
        )
        for rank in range(world)
    ]  # fmt: skip
    assert len({len(batches) for batches in ranks}) == 1  # nobody waits for a step that never comes
    seen = sorted(index for batches in ranks for batch in batches for index in batch)
    assert len(seen) == len(set(seen))
    if drop_last:
        assert {len(batch) for batches in ranks for batch in batches} == {batch_size}
        assert len(seen) == count - count % step
    else:
        assert seen == list(range(count))
        assert all(0 < len(batch) <= batch_size + 1 for batches in ranks for batch in batches)


def test_steps_depend_on_the_global_batch_alone() -> None:
    def steps(batch_size: int, world: int) -> list[set[int]]:
        ranks = [
            epoch_batches(
                50, seed=3, epoch=2, batch_size=batch_size, drop_last=True, rank=r, world=world
            )
            for r in range(world)
        ]
        return [set().union(*step) for step in zip(*ranks, strict=True)]

    assert steps(8, 1) == steps(4, 2) == steps(2, 4)


def test_epochs_and_seeds_differ() -> None:
    orders = {
        str(epoch_batches(40, seed=seed, epoch=epoch, batch_size=4, drop_last=True))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def test_sample_rng_knows_its_place() -> None:
    draws = {
        sample_rng(seed, epoch, index).random()
        for seed in range(3)
        for epoch in range(3)
        for index in range(3)
    }
    assert len(draws) == 27
    assert sample_rng(1, 2, 3).random() == sample_rng(1, 2, 3).random()
