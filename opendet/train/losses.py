"""The losses, as pure functions of tensors; `objective` weighs and adds them.

All of them are sums in fp32 that the caller divides, zero and connected to their inputs where
there is nothing to learn from. P matched pairs, N queries, B images, Q queries, M objects of one.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from opendet.boxes import paired_giou, xyxy_from_cxcywh

ALPHA, GAMMA = 0.25, 2.0
LEAST_TARGET = 1e-3
"""Of a matched query: a target of 0 would make it a negative, and its logarithm infinite."""

JointForm = Literal["completed", "qfl", "literal"]


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sigmoid focal loss (Lin et al. 2017, eq. 5), summed. (N,) logits, (N,) targets 0 or 1."""
    logits, targets = logits.float(), targets.float()
    entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    probability = logits.sigmoid()
    hit = probability * targets + (1 - probability) * (1 - targets)
    balance = ALPHA * targets + (1 - ALPHA) * (1 - targets)
    return (balance * (1 - hit) ** GAMMA * entropy).sum()


def joint_target(probability: Tensor, alignment: Tensor, iou: Tensor, *, alpha: float) -> Tensor:
    """t = sqrt(p^a s^a u^(1-2a)) of the joint loss, each (P,) in [0, 1]; without gradient.

    In logarithms and from `LEAST_TARGET` up, for a product of three small numbers underflows.
    """
    p, s, u = (
        value.detach().float().clamp(min=LEAST_TARGET) for value in (probability, alignment, iou)
    )
    logarithm = alpha * p.log() + alpha * s.log() + (1 - 2 * alpha) * u.log()
    return (0.5 * logarithm).exp()


def quality_loss(logits: Tensor, targets: Tensor, form: JointForm = "completed") -> Tensor:
    """Object scores against qualities, summed. (N,) logits, (N,) targets t in [0, 1], positive
    above zero; a negative costs -p^2 log(1 - p) in every form.

    `completed` (IA-BCE of Cai et al. 2023 with any t): -t log p - (1 - t) log(1 - p), least at
    p = t. `qfl`: the same times (t - p)^2 (Li et al. 2020). `literal`: -(t - p)^2 log p, the
    joint loss as printed, which is 0 at p = t and at p = 1 too (spec/open_det.md A.7).
    """
    logits, targets = logits.float(), targets.float().detach()
    probability = logits.sigmoid()
    entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    if form == "completed":
        positive = entropy
    elif form == "qfl":
        positive = (targets - probability) ** 2 * entropy
    else:
        positive = (targets - probability) ** 2 * -functional.logsigmoid(logits)
    return torch.where(targets > 0, positive, probability**GAMMA * entropy).sum()


def same_name_targets(
    texts: Tensor, texted: Tensor, *, threshold: float, ignore: float | None = None
) -> tuple[Tensor, Tensor]:
    """MAL's mask: which objects of an image have the same name.

    texts (B, M, D_t) unit, texted (B, M) -> targets (B, M, M) 0 or 1, where C = T T^t is above
    `threshold`, and counted (B, M, M) bool: both have a vector, and C is not between `ignore` and
    the threshold. An object is always the same as itself.
    """
    with torch.autocast(texts.device.type, enabled=False):  # bf16 knows nothing in .9883 ... .9922
        texts = texts.float()
        cosine = texts @ texts.mT  # (B, M, M)
    itself = torch.eye(cosine.shape[-1], dtype=torch.bool, device=cosine.device)
    counted = texted[:, :, None] & texted[:, None]
    same = ((cosine > threshold) | itself) & counted
    if ignore is not None:
        counted = counted & (same | (cosine < ignore))
    return same.float(), counted


def alignment_loss(
    logits: Tensor, targets: Tensor, counted: Tensor, *, modulation: Literal["focal", "bce"]
) -> Tensor:
    """Masked alignment loss, summed over the counted cells: (B, Q, M) each, targets 0 or 1."""
    cells, wanted = logits[counted], targets[counted]
    if modulation == "focal":
        return focal_loss(cells, wanted)
    return functional.binary_cross_entropy_with_logits(
        cells.float(), wanted.float(), reduction="sum"
    )


def overlap_loss(logits: Tensor, iou: Tensor) -> Tensor:
    """Cross-entropy of predicted overlaps (P,) against the IoU (P,) of the boxes, summed."""
    return functional.binary_cross_entropy_with_logits(
        logits.float(), iou.detach().float(), reduction="sum"
    )


def box_losses(predicted_cxcywh: Tensor, target_cxcywh: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(P, 4) against (P, 4): each pair's L1, its 1 - GIoU, and its IoU, detached; (P,) each."""
    predicted, target = predicted_cxcywh.float(), target_cxcywh.float()
    distance = (predicted - target).abs().sum(-1)
    giou, iou = paired_giou(xyxy_from_cxcywh(predicted), xyxy_from_cxcywh(target))
    return distance, 1 - giou, iou.detach()


def contrast_loss(
    prompts: Tensor,
    own: Tensor,
    others: Tensor,
    *,
    temperature: float,
    same: float,
    counted: Tensor | None = None,
) -> Tensor:
    """Sum over the prompts of the cross-entropy of their own text among (K, D_t) others.

    prompts, own (P, D_t); all are unit vectors, and no gradient goes to texts. Of the others those
    whose cosine with its own text is above `same` are left out, and those that `counted` (P, K)
    says do not count for a prompt.
    """
    with torch.autocast(prompts.device.type, enabled=False):
        prompts, own, others = prompts.float(), own.float().detach(), others.float().detach()
        right = (prompts * own).sum(-1, keepdim=True) / temperature  # (P, 1)
        wrong = prompts @ others.T / temperature  # (P, K)
        # its own among the others is 1 but for rounding, whatever `same` is
        wrong = wrong.masked_fill(own @ others.T > min(same, 0.999), -torch.inf)
        if counted is not None:
            wrong = wrong.masked_fill(~counted, -torch.inf)
        return (torch.cat((right, wrong), -1).logsumexp(-1, keepdim=True) - right).sum()


def distillation_loss(prompts: Tensor, text_vectors: Tensor) -> Tensor:
    """Sum of 1 - cosine of (P, D_t) with (P, D_t); the text is the teacher and gets no gradient."""
    cosine = functional.cosine_similarity(prompts.float(), text_vectors.float().detach(), dim=-1)
    return (1 - cosine).sum()
