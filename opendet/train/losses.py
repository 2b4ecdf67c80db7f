"""The losses, as pure functions of tensors; `objective` weighs and adds them.

All of them are sums in fp32 that the caller divides, zero and connected to their inputs where
there is nothing to learn from. P matched pairs, N queries.
"""

import torch
from torch import Tensor
from torch.nn import functional

from opendet.boxes import paired_giou, xyxy_from_cxcywh

ALPHA, GAMMA = 0.25, 2.0


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sigmoid focal loss (Lin et al. 2017, eq. 5), summed. (N,) logits, (N,) targets 0 or 1."""
    logits, targets = logits.float(), targets.float()
    entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    probability = logits.sigmoid()
    hit = probability * targets + (1 - probability) * (1 - targets)
    balance = ALPHA * targets + (1 - ALPHA) * (1 - targets)
    return (balance * (1 - hit) ** GAMMA * entropy).sum()


def quality_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy against a quality, summed (IA-BCE of Cai et al. 2023, varifocal negatives).

    (N,) logits, (N,) targets in [0, 1], detached: positive where above zero. A positive costs
    -t log p - (1 - t) log(1 - p), a negative -p^2 log(1 - p). Least where p = t.
    """
    logits, targets = logits.float(), targets.float().detach()
    entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    weight = torch.where(targets > 0, 1.0, logits.sigmoid() ** GAMMA)
    return (weight * entropy).sum()


def box_losses(predicted_cxcywh: Tensor, target_cxcywh: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(P, 4) against (P, 4): summed L1, summed 1 - GIoU, each pair's IoU (P,), detached."""
    predicted, target = predicted_cxcywh.float(), target_cxcywh.float()
    distance = (predicted - target).abs().sum()
    giou, iou = paired_giou(xyxy_from_cxcywh(predicted), xyxy_from_cxcywh(target))
    return distance, (1 - giou).sum(), iou.detach()


def distillation_loss(prompts: Tensor, text_vectors: Tensor) -> Tensor:
    """Sum of 1 - cosine of (P, D_t) with (P, D_t); the text is the teacher and gets no gradient."""
    cosine = functional.cosine_similarity(prompts.float(), text_vectors.float().detach(), dim=-1)
    return (1 - cosine).sum()
