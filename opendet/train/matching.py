"""One-to-one matching of queries and targets (Carion et al. 2020, eq. 1).

L layers, B images, Q queries, M targets of one image (padded to the most), P matched pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from opendet.boxes import pairwise_giou, xyxy_from_cxcywh
from opendet.model.outputs import LayerOutput

if TYPE_CHECKING:
    import numpy as np

    from opendet.train.objective_config import ObjectiveConfig

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0


@dataclass(frozen=True, slots=True)
class Matches:
    """The matched pairs of one layer, image by image, in the order of the queries."""

    images: Tensor
    """(P,) int64"""
    queries: Tensor
    """(P,) int64"""
    targets: Tensor
    """(P,) int64, index among the targets of that image."""

    def __len__(self) -> int:
        return len(self.images)


@torch.no_grad()
def match_one_to_one(
    layers: Sequence[LayerOutput],
    valid: Tensor,
    targets_cxcywh: Sequence[Tensor],
    config: "ObjectiveConfig",
) -> list[Matches]:
    """For each layer the assignment of least total cost: no query and no target twice, and as many
    pairs as an image has targets or queries, whichever are fewer.

    valid (B, Q); targets_cxcywh B tensors (M, 4). All costs cross to the CPU in one transfer.
    """
    counts = [len(boxes) for boxes in targets_cxcywh]
    padded = torch.nn.utils.rnn.pad_sequence(list(targets_cxcywh), batch_first=True)
    costs = torch.stack([matching_costs(layer, padded, config) for layer in layers])
    on_cpu: np.ndarray = costs.cpu().numpy()
    there = valid.cpu().numpy()
    return [_assign_layer(layer, there, counts, valid.device) for layer in on_cpu]


def matching_costs(layer: LayerOutput, targets_cxcywh: Tensor, config: "ObjectiveConfig") -> Tensor:
    """(B, Q) queries against (B, M, 4) targets -> costs (B, Q, M), fp32."""
    boxes = layer.boxes_cxcywh.float()
    distance = torch.cdist(boxes, targets_cxcywh.float(), p=1)
    giou = torch.stack(
        [
            pairwise_giou(xyxy_from_cxcywh(queries), xyxy_from_cxcywh(targets))
            for queries, targets in zip(boxes, targets_cxcywh.float(), strict=True)
        ]
    )
    objects = focal_cost(layer.logits.float())[..., None]
    costs = config.cost_object * objects + config.cost_l1 * distance - config.cost_giou * giou
    return costs.nan_to_num(nan=1e6, posinf=1e6, neginf=-1e6)


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
    indices = torch.tensor([images, queries, targets], dtype=torch.int64, device=device)
    return Matches(*indices.unbind(0))
