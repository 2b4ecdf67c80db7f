"""Every draw once an epoch, shared among the ranks, in an order that only the seed decides."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendet.data.order import Draw, epoch_order, epoch_rng, rank_batches, sample_rng


def ordered(count: int, *, seed: int = 1, epoch: int = 0) -> list[Draw]:
    return epoch_order(np.arange(count), np.ones(count, np.int64), epoch_rng(seed, epoch))


@given(
    count=st.integers(1, 200),
    batch_size=st.integers(1, 9),
    world=st.integers(1, 5),
    epoch=st.integers(0, 3),
    drop_last=st.booleans(),
)
def test_ranks_partition_the_draws(
    count: int, batch_size: int, world: int, epoch: int, drop_last: bool
) -> None:
    step = batch_size * world
    draws = ordered(count, epoch=epoch)
    if count < (step if drop_last else world):
        with pytest.raises(ValueError, match="too few"):
            rank_batches(draws, batch_size=batch_size, drop_last=drop_last, world=world)
        return
    ranks = [
        rank_batches(draws, batch_size=batch_size, drop_last=drop_last, rank=rank, world=world)
        for rank in range(world)
    ]
    assert len({len(batches) for batches in ranks}) == 1  # nobody waits for a step that never comes
    seen = sorted(draw for batches in ranks for batch in batches for draw in batch)
    assert len(seen) == len(set(seen))
    if drop_last:
        assert {len(batch) for batches in ranks for batch in batches} == {batch_size}
        assert len(seen) == count - count % step
    else:
        assert seen == [Draw(index) for index in range(count)]
        assert all(0 < len(batch) <= batch_size + 1 for batches in ranks for batch in batches)


def test_steps_depend_on_the_global_batch_alone() -> None:
    def steps(batch_size: int, world: int) -> list[set[Draw]]:
        draws = ordered(50, seed=3, epoch=2)
        ranks = [
            rank_batches(draws, batch_size=batch_size, drop_last=True, rank=r, world=world)
            for r in range(world)
        ]
        return [set().union(*step) for step in zip(*ranks, strict=True)]

    assert steps(8, 1) == steps(4, 2) == steps(2, 4)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_each_coming_has_its_turn(counts: list[int]) -> None:
    samples = np.arange(len(counts)) * 3
    draws = epoch_order(samples, np.array(counts), epoch_rng(0, 0))
    expected = [(index * 3, turn) for index, n in enumerate(counts) for turn in range(n)]
    assert sorted((draw.sample, draw.turn) for draw in draws) == expected


def test_a_repeat_within_a_step_is_counted_over_all_ranks() -> None:
    draws = [Draw(0, 0), Draw(5, 0), Draw(0, 1), Draw(0, 2), Draw(5, 1), Draw(7, 0)]
    [first, second] = rank_batches(draws, batch_size=4, drop_last=False)
    assert first == [Draw(0, 0, 0), Draw(5, 0, 0), Draw(0, 1, 1), Draw(0, 2, 2)]
    assert second == [Draw(5, 1, 0), Draw(7, 0, 0)]
    ranks = [
        rank_batches(draws, batch_size=2, drop_last=False, rank=rank, world=2) for rank in (0, 1)
    ]
    assert [sorted(one + other) for one, other in zip(*ranks, strict=True)] == [
        sorted(first),
        sorted(second),
    ]


def test_epochs_and_seeds_differ() -> None:
    orders = {str(ordered(40, seed=seed, epoch=epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_the_order_without_a_mixture_is_a_permutation_of_the_epoch() -> None:
    """Pinned: another order would make every checkpoint resume into other batches."""
    assert [draw.sample for draw in ordered(8, seed=5, epoch=2)] == (
        np.random.default_rng([5, 2]).permutation(8).tolist()
    )


def test_sample_rng_knows_its_place() -> None:
    draws = {
        sample_rng(seed, epoch, Draw(index, turn)).random()
        for seed in range(3)
        for epoch in range(3)
        for index in range(3)
        for turn in range(3)
    }
    assert len(draws) == 81
    assert sample_rng(1, 2, Draw(3)).random() == sample_rng(1, 2, Draw(3)).random()


def test_a_first_turn_is_drawn_as_ever() -> None:
    """Pinned: as before samples could come twice."""
    first = np.random.default_rng([1, 2, 3])
    assert sample_rng(1, 2, Draw(3)).random() == first.random()
