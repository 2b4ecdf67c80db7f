"""Multi-scale deformable attention in plain PyTorch (Zhu et al. 2021, eq. 2).

B images, Q queries, S tokens, L levels, P points, G heads, D width, C = D / G.
Coordinates and sampling stay in fp32 whatever the autocast: a grid rounded to bf16 moves the
samples by cells (spec/engineering.md measures an error of 12 %).
"""

import math

import torch
from torch import Tensor, nn

from opendet.model.features import FeatureTokens
from opendet.model.sampling import sample_levels
from opendet.model.token_linear import TokenLinear


class DeformableAttention(nn.Module):
    """Each query reads a few points around its reference, on every level."""

    def __init__(self, width: int, *, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.offsets = TokenLinear(width, heads * levels * points * 2)
        self.weights = TokenLinear(width, heads * levels * points)
        self.values = TokenLinear(width, width)
        self.output = TokenLinear(width, width)
        self._initialise()

    def forward(self, queries: Tensor, references: Tensor, features: FeatureTokens) -> Tensor:
        """queries (B, Q, D); references (B, Q, 2) points or (B, Q, 4) cxcywh, in [0, 1] of the
        unpadded image -> (B, Q, D)."""
        return self.read(queries, references, features, self.project(features))

    def project(self, features: FeatureTokens) -> Tensor:
        """(B, S, G, C) the values that points read, zero where padded."""
        values: Tensor = self.values(features.tokens)
        values = values.masked_fill(~features.valid[..., None], 0.0)
        return values.view(*values.shape[:-1], self.heads, -1)

    def read(
        self, queries: Tensor, references: Tensor, features: FeatureTokens, values: Tensor
    ) -> Tensor:
        """`forward` with the values at hand."""
        weights = self.weights(queries).float().unflatten(-1, (self.heads, -1)).softmax(-1)
        sampled = sample_levels(
            values,
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
