"""Random numbers that follow from a seed and a step, and arithmetic that rounds the same twice.

Nothing of it needs saving: a resumed run draws what the undisturbed one would have drawn.
"""

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch


def seed_step(seed: int, step: int) -> torch.Generator:
    """Seed every global generator for a step. Returns one of the CPU for the objective's draws."""
    mixed = int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0])
    torch.manual_seed(mixed)
    np.random.seed(mixed % 2**32)
    random.seed(mixed)
    return torch.Generator().manual_seed(mixed)


@dataclass(frozen=True, slots=True)
class StepDraws:
    """The objective's random draws of one step, image by image.

    They depend on the image and not on its place in a batch or on its rank, so that two ranks of n
    images draw what one of 2n draws. An image that comes twice in one batch of all ranks has two
    keys (`ExampleSet.example`); one that comes in two of `accumulate` batches draws twice the same.
    """

    seed: int
    step: int

    def of(self, key: str, purpose: str = "") -> torch.Generator:
        """A generator of the CPU for an image; another one for each purpose."""
        words = (self.seed, self.step, zlib.crc32(key.encode()), zlib.crc32(purpose.encode()))
        state = np.random.SeedSequence(words).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(state))


@contextmanager
def reproducible(device: torch.device, *, threads: int) -> Iterator[None]:
    """A fixed number of threads, and on a CPU deterministic algorithms; as before at the end."""
    before = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    # A GPU has none for the backward pass of grid_sample, and would warn at every step.
    torch.use_deterministic_algorithms(device.type == "cpu", warn_only=True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(strict)
