"""Sine embeddings of places and boxes (Vaswani et al. 2017; temperature as DINO's)."""

import math

import torch
from torch import Tensor

TEMPERATURE = 20.0


def sine_embedding(coordinates: Tensor, width: int) -> Tensor:
    """(..., C) in [0, 1] -> (..., C * width), fp32; `width` is even.

    Of each coordinate x: sin and cos of 2 pi x / T^(i / (width / 2)), i = 0 .. width / 2 - 1.
    """
    steps = torch.arange(width // 2, device=coordinates.device, dtype=torch.float32)
    frequencies = 2 * math.pi * TEMPERATURE ** (-steps / (width // 2))
    angles = coordinates.float()[..., None] * frequencies  # (..., C, width / 2)
    return torch.cat((angles.sin(), angles.cos()), -1).flatten(-2)


def inverse_sigmoid(probability: Tensor, eps: float = 1e-4) -> Tensor:
    """The logit, of values held `eps` away from 0 and 1; fp32."""
    held = probability.float().clamp(eps, 1 - eps)
    return torch.log(held / (1 - held))
