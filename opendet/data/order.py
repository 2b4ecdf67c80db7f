"""The order of an epoch: a pure function of the seed, the epoch and the number of samples."""

import numpy as np

Batches = list[list[int]]


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The randomness of one sample in one epoch: it does not depend on who draws when."""
    return np.random.default_rng([seed, epoch, index])


def epoch_batches(
    count: int,
    *,
    seed: int,
    epoch: int,
    batch_size: int,
    drop_last: bool,
    rank: int = 0,
    world: int = 1,
) -> Batches:
    """A rank's batches of sample indices in [0, count).

    Over all ranks every sample comes exactly once, but for those of a last, not full batch if
    `drop_last`. All ranks get the same number of batches, none of them empty; the samples of step
    k depend on `batch_size * world` alone. Raises ValueError where there are too few samples.
    """
    assert 0 <= rank < world
    order = np.random.default_rng([seed, epoch]).permutation(count).tolist()
    step = batch_size * world
    steps = [order[start : start + step] for start in range(0, count, step)]
    if drop_last and steps and len(steps[-1]) < step:
        steps.pop()
    elif len(steps) > 1 and len(steps[-1]) < world:
        # Too few for a batch on each rank: some ranks' last batch is larger by one instead.
        spare = steps.pop()
        steps[-1].extend(spare)
    if not steps or len(steps[-1]) < world:
        raise ValueError(
            f"{count} samples are too few for {world} x batch_size {batch_size}: "
            "lower loader.batch_size, or switch loader.drop_last off"
        )
    return [samples[rank::world] for samples in steps]
