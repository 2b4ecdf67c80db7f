"""Box arithmetic, all of it.

N, M boxes. Records hold xyxy in pixels, the model cxcywh in [0, 1] of the unpadded image;
`to_model` and `to_record` are the only places that cross.
"""

import torch
from torch import Tensor


def xyxy_from_cxcywh(boxes_cxcywh: Tensor) -> Tensor:
    """(..., 4) centre and size -> (..., 4) corners, in the same unit."""
    cx, cy, w, h = boxes_cxcywh.unbind(-1)
    return torch.stack((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), -1)


def cxcywh_from_xyxy(boxes_xyxy: Tensor) -> Tensor:
    """(..., 4) corners -> (..., 4) centre and size, in the same unit."""
    x0, y0, x1, y1 = boxes_xyxy.unbind(-1)
    return torch.stack(((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0), -1)


def to_model(boxes_xyxy: Tensor, *, width: float, height: float) -> Tensor:
    """(N, 4) xyxy pixels -> (N, 4) cxcywh in [0, 1] of an image of that size."""
    return cxcywh_from_xyxy(boxes_xyxy) / _scale(boxes_xyxy, width, height)


def to_record(boxes_cxcywh: Tensor, *, width: float, height: float) -> Tensor:
    """(N, 4) cxcywh in [0, 1] -> (N, 4) xyxy pixels, clipped to an image of that size."""
    corners = xyxy_from_cxcywh(boxes_cxcywh).clamp(0, 1)
    return corners * _scale(boxes_cxcywh, width, height)


def area(boxes_xyxy: Tensor) -> Tensor:
    """(..., 4) -> (...), zero for an inverted box."""
    sides = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def pairwise_iou(first_xyxy: Tensor, second_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 4), (M, 4) -> IoU (N, M) in [0, 1] and union (N, M). Two empty boxes have IoU 0."""
    corner_low = torch.maximum(first_xyxy[:, None, :2], second_xyxy[None, :, :2])
    corner_high = torch.minimum(first_xyxy[:, None, 2:], second_xyxy[None, :, 2:])
    sides = (corner_high - corner_low).clamp(min=0)
    intersection = sides[..., 0] * sides[..., 1]
    union = area(first_xyxy)[:, None] + area(second_xyxy)[None] - intersection
    return intersection / union.clamp(min=torch.finfo(union.dtype).eps), union


def pairwise_giou(first_xyxy: Tensor, second_xyxy: Tensor) -> Tensor:
    """(N, 4), (M, 4) -> generalised IoU (N, M) in [-1, 1] (Rezatofighi et al. 2019, eq. 1)."""
    iou, union = pairwise_iou(first_xyxy, second_xyxy)
    hull_low = torch.minimum(first_xyxy[:, None, :2], second_xyxy[None, :, :2])
    hull_high = torch.maximum(first_xyxy[:, None, 2:], second_xyxy[None, :, 2:])
    sides = (hull_high - hull_low).clamp(min=0)
    hull = (sides[..., 0] * sides[..., 1]).clamp(min=torch.finfo(union.dtype).eps)
    return iou - (hull - union) / hull


def paired_giou(first_xyxy: Tensor, second_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 4), (N, 4) -> generalised IoU (N,) and IoU (N,) of row i with row i."""
    low = torch.maximum(first_xyxy[:, :2], second_xyxy[:, :2])
    high = torch.minimum(first_xyxy[:, 2:], second_xyxy[:, 2:])
    sides = (high - low).clamp(min=0)
    intersection = sides[:, 0] * sides[:, 1]
    union = area(first_xyxy) + area(second_xyxy) - intersection
    eps = torch.finfo(union.dtype).eps
    iou = intersection / union.clamp(min=eps)
    hull_sides = (
        torch.maximum(first_xyxy[:, 2:], second_xyxy[:, 2:])
        - torch.minimum(first_xyxy[:, :2], second_xyxy[:, :2])
    ).clamp(min=0)
    hull = (hull_sides[:, 0] * hull_sides[:, 1]).clamp(min=eps)
    return iou - (hull - union) / hull, iou


def _scale(boxes: Tensor, width: float, height: float) -> Tensor:
    return torch.tensor([width, height, width, height], dtype=boxes.dtype, device=boxes.device)
