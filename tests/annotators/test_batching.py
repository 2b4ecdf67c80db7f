"""Batches that halve where a GPU's memory is too small, here one that holds so many items."""

import errno
import logging
from collections.abc import Sequence

import flow_world as world
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from opendet.annotators.batching import in_batches
from opendet.record import Record
from opendet.sample import Sample
from opendet.shard_run import run_shard


class SmallGpu:
    """Doubles numbers, as many at once as it holds."""

    def __init__(self, holds: int) -> None:
        self.holds = holds
        self.asked: list[int] = []

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.asked.append(len(items))
        if len(items) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [2 * item for item in items]


@given(count=st.integers(0, 40), size=st.integers(1, 40), holds=st.integers(1, 40))
def test_every_item_has_its_answer_in_order(count: int, size: int, holds: int) -> None:
    gpu = SmallGpu(holds)
    assert in_batches(range(count), size, gpu) == [2 * item for item in range(count)]
    assert max(gpu.asked, default=0) <= size
    assert sum(asked for asked in gpu.asked if asked <= holds) == count  # none is asked twice


def test_a_batch_that_does_not_fit_is_halved_and_so_are_the_next(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, logger="opendet")
    gpu = SmallGpu(holds=5)
    in_batches(range(20), 16, gpu)
    assert gpu.asked == [16, 8, 4, 4, 4, 4, 4]
    assert "out of the GPU's memory with 16 at once: 8 from here" in caplog.text


def test_one_that_fits_nowhere_is_the_samples_fault() -> None:
    with pytest.raises(ValueError, match=r"does not hold this sample alone.*run\.gpus"):
        in_batches(range(3), 2, SmallGpu(holds=0))


def test_other_errors_are_none_of_its_business() -> None:
    def broken(items: Sequence[int]) -> list[int]:
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(RuntimeError, match="device-side assert"):
        in_batches(range(3), 2, broken)


def test_nothing_of_a_batch_that_failed_is_held_while_the_next_is_asked() -> None:
    """Or the memory that it took would not be free for the smaller one."""
    import weakref

    alive: list[weakref.ref[torch.Tensor]] = []

    def ask(items: Sequence[int]) -> list[int]:
        assert all(tensor() is None for tensor in alive)
        activations = torch.zeros(len(items))
        alive.append(weakref.ref(activations))
        if len(items) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(items)

    assert in_batches(range(4), 4, ask) == [0, 1, 2, 3]


def test_a_large_sample_is_quarantined_alone_and_the_shard_goes_on() -> None:
    """Memory grows with the images' sizes: this one alone is more than the GPU holds."""
    large = "k0006"

    def worker(samples: Sequence[Sample]) -> list[Record]:
        def ask(batch: Sequence[Sample]) -> list[Record]:
            if len(batch) > 2 or any(sample.key == large for sample in batch):
                raise torch.OutOfMemoryError("CUDA out of memory")
            return [sample.record for sample in batch]

        return in_batches(samples, 4, ask)

    outcome = run_shard(world.stage(), worker, world.tasks(1)[0])
    [sick] = outcome.quarantined
    assert sick.key == large
    assert "the GPU's memory does not hold this sample alone" in sick.error
    assert len(outcome.kept) == world.SHARD_SAMPLES - 1


@pytest.mark.parametrize(
    "error",
    [ConnectionError("no server answers"), OSError(errno.ENOMEM, "no memory"), MemoryError()],
)
def test_what_is_no_samples_fault_ends_the_stage(error: Exception) -> None:
    def worker(samples: Sequence[Sample]) -> list[Record]:
        raise error

    with pytest.raises(type(error)):
        run_shard(world.stage(), worker, world.tasks(1)[0])
