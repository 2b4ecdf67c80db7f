"""One-to-one matching of queries and objects (Carion et al. 2020, eq. 1).

L layers, B images, Q queries, M objects of one image (padded to the most), P matched pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from opendet.boxes import pairwise_giou, pairwise_iou, xyxy_from_cxcywh

if TYPE_CHECKING:
    import numpy as np

    from opendet.train.objective_config import ObjectiveConfig

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0


@dataclass(frozen=True, slots=True)
class Matches:
    """The matched pairs of one layer."""

    images: Tensor
    """(P,) int64"""
    queries: Tensor
    """(P,) int64"""
    targets: Tensor
    """(P,) int64, index among the targets of that image."""
    ranks: Tensor
    """(P,) int64: of one object's queries the best has 0, the next 1, ..."""

    def __len__(self) -> int:
        return len(self.images)


@torch.no_grad()
def match_one_to_one(
    costs: Sequence[Tensor], valid: Tensor, counts: Sequence[int]
) -> list[Matches]:
    """For each layer the assignment of least total cost: no query and no object twice, and as many
    pairs as an image has objects or queries, whichever are fewer.

    costs L tensors (B, Q, M), valid (B, Q), counts B. All cross to the CPU in one transfer.
    """
    on_cpu: np.ndarray = torch.stack(list(costs)).cpu().numpy()
    there = valid.cpu().numpy()
    return [_assign_layer(layer, there, counts, valid.device) for layer in on_cpu]


@torch.no_grad()
def matching_costs(
    logits: Tensor, boxes_cxcywh: Tensor, targets_cxcywh: Tensor, config: "ObjectiveConfig"
) -> Tensor:
    """(B, Q, M) or (B, Q, 1) logits that query q shows object m, boxes (B, Q, 4) against
    (B, M, 4) -> costs (B, Q, M), fp32, finite even where a prediction is not."""
    boxes, targets = boxes_cxcywh.float(), targets_cxcywh.float()
    distance = torch.cdist(boxes, targets, p=1)
    giou = torch.stack(
        [
            pairwise_giou(xyxy_from_cxcywh(queries), xyxy_from_cxcywh(objects))
            for queries, objects in zip(boxes, targets, strict=True)
        ]
    )
    objects = focal_cost(logits.float())
    costs = config.cost_object * objects + config.cost_l1 * distance - config.cost_giou * giou
    return costs.nan_to_num(nan=1e6, posinf=1e6, neginf=-1e6)


def pairwise_ious(boxes_cxcywh: Tensor, targets_cxcywh: Tensor) -> Tensor:
    """(B, Q, 4) against (B, M, 4) -> (B, Q, M) in [0, 1]."""
    pairs = zip(boxes_cxcywh.float(), targets_cxcywh.float(), strict=True)
    return torch.stack(
        [
            pairwise_iou(xyxy_from_cxcywh(boxes), xyxy_from_cxcywh(targets))[0]
            for boxes, targets in pairs
        ]
    )


def focal_cost(logits: Tensor) -> Tensor:
    """What calling a query an object would cost under focal loss, less what the opposite would."""
    probability = logits.sigmoid()
    positive = FOCAL_ALPHA * (1 - probability) ** FOCAL_GAMMA * -functional.logsigmoid(logits)
    negative = (1 - FOCAL_ALPHA) * probability**FOCAL_GAMMA * -functional.logsigmoid(-logits)
    return positive - negative


def _assign_layer(
    costs: "np.ndarray", valid: "np.ndarray", counts: Sequence[int], device: torch.device
) -> Matches:
    images: list[int] = []
    queries: list[int] = []
    targets: list[int] = []
    for image, count in enumerate(counts):
        usable = valid[image].nonzero()[0]
        rows, columns = linear_sum_assignment(costs[image, usable, :count])
        images += [image] * len(rows)
        queries += usable[rows].tolist()
        targets += columns.tolist()
    ranks = [0] * len(images)
    indices = torch.tensor([images, queries, targets, ranks], dtype=torch.int64, device=device)
    return Matches(*indices.unbind(0))
