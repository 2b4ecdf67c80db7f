"""DeCo-DETR's losses, as pure functions of tensors; `deco_objective` weighs them.

Sums in fp32 that the caller divides, zero and connected to their inputs without a query. N queries,
M prototypes, C classes, D_c the width of the pool's CLIP.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


@torch.no_grad()
def teacher_weights(crops: Tensor, prototypes: Tensor, *, temperature: float) -> Tensor:
    """w~ = softmax(cos(z, A_0) / tau), (N, M): the mixture of prototypes that CLIP sees in crops
    (N, D_c); the rows of prototypes (M, D_c) may have any length."""
    cosines = _cosines(crops, prototypes)
    return (cosines / temperature).softmax(dim=-1)


@torch.no_grad()
def teacher_classes(crops: Tensor, classes: Tensor, *, factor: float) -> Tensor:
    """softmax(factor cos(z, E)), (N, C): which of the classes (C, D_c) CLIP sees in crops."""
    return (factor * _cosines(crops, classes)).softmax(dim=-1)


def mixture_divergence(log_weights: Tensor, taught: Tensor) -> Tensor:
    """L_KL = sum of KL(w~ || w) over the queries; log w and w~ are (N, M)."""
    return functional.kl_div(log_weights.float(), taught.float(), reduction="sum")


def class_entropy(logits: Tensor, taught: Tensor) -> Tensor:
    """L_align = sum over the queries of the cross-entropy of t = softmax(logits) with the teacher's
    classes; both (N, C)."""
    return -(taught.float() * functional.log_softmax(logits.float(), dim=-1)).sum()


def rising_weight(step: int, steps: int) -> float:
    """lambda_align(t) = (1 - cos(pi t / T)) / 2 in [0, 1], at a step counted from 0 of `steps`:
    detection first, names later."""
    return (1 - math.cos(math.pi * min(step, steps) / steps)) / 2


def _cosines(ones: Tensor, others: Tensor) -> Tensor:
    """In fp32 whatever the precision of training: a teacher's factor of 100 makes a rounded cosine
    another class."""
    with torch.autocast(ones.device.type, enabled=False):
        one, other = (functional.normalize(rows.float(), dim=-1) for rows in (ones, others))
        return torch.matmul(one, other.T)
