"""Multi-scale deformable attention in plain PyTorch (Zhu et al. 2021, eq. 2).

B images, Q queries, S tokens, L levels, P points, G heads, D width, C = D / G.
Coordinates and sampling stay in fp32 whatever the autocast: a grid rounded to bf16 moves the
samples by cells (spec/engineering.md measures an error of 12 %).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from opendet.model.features import FeatureTokens, Shapes


def sample_levels(values: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples; zero beyond a map's border.

    values (B, S, G, C), locations (B, Q, G, L, P, 2) as xy in [0, 1] of each padded map,
    weights (B, Q, G, L, P) -> (B, Q, G * C) fp32.
    """
    images, _, heads, channels = values.shape
    queries = locations.shape[1]
    grids = (2 * locations.float() - 1).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)  # (L, BG, Q, P, 2)
    scales = weights.float().permute(3, 0, 2, 1, 4).flatten(1, 2)[:, :, None]  # (L, BG, 1, Q, P)
    total = values.new_zeros((images * heads, channels, queries), dtype=torch.float32)
    parts = torch.split(values.float(), [height * width for height, width in shapes], 1)
    for part, shape, grid, scale in zip(parts, shapes, grids, scales, strict=True):
        level = part.permute(0, 2, 3, 1).reshape(images * heads, channels, *shape)
        samples = functional.grid_sample(level, grid, align_corners=False)  # (BG, C, Q, P)
        total = total + (samples * scale).sum(-1)
    return total.view(images, heads * channels, queries).transpose(1, 2)


class DeformableAttention(nn.Module):
    """Each query reads a few points around its reference, on every level."""

    def __init__(self, width: int, *, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.offsets = nn.Linear(width, heads * levels * points * 2)
        self.weights = nn.Linear(width, heads * levels * points)
        self.values = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self._initialise()

    def forward(self, queries: Tensor, references: Tensor, features: FeatureTokens) -> Tensor:
        """queries (B, Q, D); references (B, Q, 2) points or (B, Q, 4) cxcywh, in [0, 1] of the
        unpadded image -> (B, Q, D)."""
        values = self.values(features.tokens).masked_fill(~features.valid[..., None], 0.0)
        weights = self.weights(queries).float().unflatten(-1, (self.heads, -1)).softmax(-1)
        sampled = sample_levels(
            values.unflatten(-1, (self.heads, -1)),
            features.shapes,
            self._locations(queries, references, features),
            weights.unflatten(-1, (self.levels, self.points)),
        )
        output: Tensor = self.output(sampled.to(queries.dtype))
        return output

    def _locations(self, queries: Tensor, references: Tensor, features: FeatureTokens) -> Tensor:
        """(B, Q, G, L, P, 2) in [0, 1] of each padded map."""
        shape = (self.heads, self.levels, self.points, 2)
        offsets = self.offsets(queries).float().unflatten(-1, shape)
        centres = references[:, :, None, None, None, :2].float()
        if references.shape[-1] == 2:
            reach = 1 / features.extents_wh[:, None, None, :, None]  # offsets count cells
        else:
            reach = references[:, :, None, None, None, 2:].float() * 0.5 / self.points
        ratios = features.ratios_wh()[:, None, None, :, None]  # (B, 1, 1, L, 1, 2)
        locations: Tensor = (centres + offsets * reach) * ratios
        return locations

    def _initialise(self) -> None:
        """Heads look into directions all around, points ever further, all with equal weight."""
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)
        angles = torch.arange(self.heads, dtype=torch.float32) * (2 * math.pi / self.heads)
        directions = torch.stack((angles.cos(), angles.sin()), -1)
        directions = directions / directions.abs().amax(-1, keepdim=True)
        distances = torch.arange(1, self.points + 1, dtype=torch.float32)
        bias = directions[:, None, None] * distances[None, None, :, None]
        with torch.no_grad():
            self.offsets.bias.copy_(bias.expand(-1, self.levels, -1, -1).flatten())
        for linear in (self.values, self.output):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
