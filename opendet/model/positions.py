"""Sine embeddings of places and boxes (Vaswani et al. 2017; temperature as DINO's)."""

import math

import torch
from torch import Tensor

TEMPERATURE = 20.0


def sine_embedding(coordinates: Tensor, width: int) -> Tensor:
    """(..., C) as x, y and what follows, in [0, 1] -> (..., C * width), fp32; `width` is even.

    Of each coordinate x: sin and cos of 2 pi x / T^(i / (width / 2)), i = 0 .. width / 2 - 1, in
    turn; y's before x's. The order is DETR's, so that its family's weights can be taken over.
    """
    steps = torch.arange(width // 2, device=coordinates.device, dtype=torch.float32)
    frequencies = 2 * math.pi * TEMPERATURE ** (-steps / (width // 2))
    order = [1, 0, *range(2, coordinates.shape[-1])]
    angles = coordinates.float()[..., order, None] * frequencies  # (..., C, width / 2)
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(-3)


def inverse_sigmoid(probability: Tensor, eps: float = 1e-4) -> Tensor:
    """The logit, of values held `eps` away from 0 and 1; fp32."""
    held = probability.float().clamp(eps, 1 - eps)
    return torch.log(held / (1 - held))
