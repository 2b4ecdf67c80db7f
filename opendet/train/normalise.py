"""A loss is a sum and what it is a mean over; the mean is over all ranks' batches.

DistributedDataParallel takes the mean of the ranks' gradients. With each rank's sum divided by its
share of the common count, that mean is the gradient of one batch of all images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True, slots=True)
class Cost:
    """A loss before it is divided."""

    total: Tensor
    """Scalar with gradient, fp32: the sum over whatever is counted."""
    over: Tensor | float
    """How many there are on this rank: pairs, cells, tokens."""


def means(costs: Sequence[Cost]) -> Tensor:
    """(n,) every cost divided by its count, which all ranks share in one message.

    No rank's count is below 1 in all: no object anywhere is a loss of 0, not of 0 / 0.
    """
    totals = torch.stack([cost.total.float() for cost in costs])
    counts = torch.tensor([float(cost.over) for cost in costs], device=totals.device)
    return totals / shared_count(counts)


def shared_count(counts: Tensor) -> Tensor:
    """Counts over all ranks, at least 1, divided by the number of ranks."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return counts.clamp(min=1)
    counts = counts.clone()
    distributed.all_reduce(counts)
    return counts.clamp(min=1) / distributed.get_world_size()
