"""The order of an epoch: a pure function of the seed, the epoch and how often each sample comes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Draw(NamedTuple):
    """One coming of a sample within an epoch."""

    sample: int
    """Its index."""
    turn: int = 0
    """How often it came before in this epoch: each time it is augmented anew."""
    repeat: int = 0
    """How often it came before in this step, on any rank: each time it is noised anew."""


Batches = list[list[Draw]]


def sample_rng(seed: int, epoch: int, draw: Draw) -> np.random.Generator:
    """The randomness of one draw in one epoch: it does not depend on who draws when."""
    return np.random.default_rng([seed, epoch, draw.sample, draw.turn])


def epoch_rng(seed: int, epoch: int) -> np.random.Generator:
    """The randomness of an epoch as a whole."""
    return np.random.default_rng([seed, epoch])


def epoch_order(
    samples: NDArray[np.int64], counts: NDArray[np.int64], rng: np.random.Generator
) -> list[Draw]:
    """(N,) samples and how often each comes -> all draws, shuffled."""
    indices = np.repeat(samples, counts)
    turns = np.arange(len(indices)) - np.repeat(np.cumsum(counts) - counts, counts)
    order = rng.permutation(len(indices))
    return list(map(Draw, indices[order].tolist(), turns[order].tolist()))


def rank_batches(
    draws: Sequence[Draw], *, batch_size: int, drop_last: bool, rank: int = 0, world: int = 1
) -> Batches:
    """A rank's batches of an epoch's draws.

    Over all ranks every draw comes exactly once, but for those of a last, not full batch if
    `drop_last`. All ranks get the same number of batches, none of them empty; the draws of step
    k depend on `batch_size * world` alone. Raises ValueError where there are too few draws.
    """
    assert 0 <= rank < world
    step = batch_size * world
    steps = [list(draws[start : start + step]) for start in range(0, len(draws), step)]
    if drop_last and steps and len(steps[-1]) < step:
        steps.pop()
    elif len(steps) > 1 and len(steps[-1]) < world:
        # Too few for a batch on each rank: some ranks' last batch is larger by one instead.
        spare = steps.pop()
        steps[-1].extend(spare)
    if not steps or len(steps[-1]) < world:
        raise ValueError(
            f"{len(draws)} samples are too few for {world} x batch_size {batch_size}: "
            "lower loader.batch_size, or switch loader.drop_last off"
        )
    return [list(_repeats_counted(step_draws))[rank::world] for step_draws in steps]


def _repeats_counted(step_draws: Sequence[Draw]) -> Iterator[Draw]:
    """Before the ranks share them: the count must not depend on how many they are."""
    seen: Counter[int] = Counter()
    for draw in step_draws:
        yield draw._replace(repeat=seen[draw.sample])
        seen[draw.sample] += 1
