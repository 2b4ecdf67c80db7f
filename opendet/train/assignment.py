"""One-to-many assignment: which queries learn from which object, without a Hungarian.

DAC-DETR's and MS-DETR's kind (spec/open_det.md A.3). B images, Q queries, M objects, K the most
queries of one object, P pairs.
"""

import torch
from torch import Tensor

from opendet.train.matching import Matches

ALIGNMENT_SHARE = 0.3
"""Of a pair's quality; the rest is the IoU's."""


@torch.no_grad()
def assign_many(
    quality: Tensor, valid: Tensor, there: Tensor, *, most: int, threshold: float
) -> Matches:
    """quality (B, Q, M) in [0, 1], valid (B, Q), there (B, M) -> pairs with their ranks.

    A query learns from the object that it fits best, if the quality is at least `threshold`. Every
    object has one query at least, whatever its quality, as long as there are queries enough; an
    object keeps its best `most`. No query has two objects.
    """
    possible = valid[:, :, None] & there[:, None]  # (B, Q, M)
    quality = quality.float().masked_fill(~possible, -torch.inf)
    chosen = _best_object(quality, threshold)
    forced = _one_for_each(quality)
    chosen = (chosen & ~forced.any(2, keepdim=True)) | forced
    # an object's own query stays among its best; a quality is at most 1
    order = torch.where(chosen, quality + 2 * forced, -torch.inf)
    kept = min(most, order.shape[1])
    best = order.topk(kept, 1)  # (B, K, M)
    pairs = (best.values > -torch.inf).permute(0, 2, 1).nonzero()  # (P, 3) image, object, rank
    images, objects, ranks = pairs.unbind(1)
    return Matches(images, best.indices[images, ranks, objects], objects, ranks)


def _best_object(quality: Tensor, threshold: float) -> Tensor:
    """(B, Q, M) True at the object that a query fits best and well enough."""
    if not quality.shape[2]:
        return torch.zeros_like(quality, dtype=torch.bool)
    best = quality.max(2, keepdim=True)
    chosen = torch.zeros_like(quality, dtype=torch.bool)
    return chosen.scatter(2, best.indices, best.values >= threshold)


def _one_for_each(quality: Tensor) -> Tensor:
    """(B, Q, M) True at one query for each object, no query twice.

    Objects without a query ask for the best free one; a query that is asked by several takes the
    one that it fits best, and the others ask again. Each round satisfies one object of an image at
    least, and two or three rounds satisfy nearly all.
    """
    taken = torch.zeros_like(quality, dtype=torch.bool)
    waiting = quality.amax(1) > -torch.inf  # (B, M)
    while bool(waiting.any()):
        free = quality.masked_fill(taken.any(2, keepdim=True) | ~waiting[:, None], -torch.inf)
        asked = free.max(1, keepdim=True)  # (B, 1, M)
        asks = torch.zeros_like(taken).scatter(1, asked.indices, asked.values > -torch.inf)
        offers = free.masked_fill(~asks, -torch.inf)
        best = offers.max(2, keepdim=True)  # (B, Q, 1)
        granted = torch.zeros_like(taken).scatter(2, best.indices, best.values > -torch.inf)
        taken |= granted
        waiting = waiting & ~granted.any(1) & asks.any(1)
    return taken
