"""The fast encoder: attention where tokens are few, convolutions between the levels.

As RT-DETR (Zhao et al. 2024) and Grounding DINO 1.5 Edge do: the coarsest backbone level, and the
extra one where there is one, attend to themselves; then the levels are fused from coarse to fine
and back. Ours fuses through half the width and normalises each cell alone, so that an image's
features do not depend on the padding beside it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from opendet.model.config import DetectorConfig
from opendet.model.encoder import FeedForward, run_layer, token_centres
from opendet.model.features import FeatureTokens, spread_levels
from opendet.model.positions import sine_embedding

# B images, S tokens of which n are coarse, L levels, D width, H x W a level's padded size


class CoarseAttention(nn.Module):
    """Self-attention and a feed-forward block on the coarsest levels' tokens, which come last."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(
            config.width, config.heads, dropout=config.dropout, batch_first=True
        )
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.width)
        self.feedforward = FeedForward(config.width, config.feedforward, config.dropout)

    def forward(self, features: FeatureTokens, positions: Tensor) -> FeatureTokens:
        """positions (B, n, D) of the coarse tokens."""
        fine, coarse = _split_last(features.tokens, positions.shape[1])
        placed = coarse + positions
        padded = ~features.valid[:, -positions.shape[1] :]
        read, _ = self.attention(
            placed, placed, coarse, key_padding_mask=padded, need_weights=False
        )
        coarse = self.feedforward(self.norm(coarse + self.dropout(read)))
        return features.with_tokens(torch.cat((fine, coarse), 1))


class CellNorm(nn.LayerNorm):
    """LayerNorm over the channels of each cell of a map (B, D, H, W)."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Fusion(nn.Module):
    """A map and what its neighbour says of it, through half the width; normalised after."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.narrow = nn.Conv2d(2 * width, half, 1)
        self.narrow_norm = CellNorm(half)
        self.spread = nn.Conv2d(half, half, 3, padding=1)
        self.spread_norm = CellNorm(half)
        self.widen = nn.Conv2d(half, width, 1)
        self.norm = CellNorm(width)

    def forward(self, features: Tensor, neighbour: Tensor, padded: Tensor) -> Tensor:
        """Maps (B, D, H, W) of one size, padded (B, 1, H, W) -> (B, D, H, W)."""
        joined = self.narrow(torch.cat((features, neighbour), 1))
        narrow = functional.relu(self.narrow_norm(joined)).masked_fill(padded, 0.0)
        spread = functional.relu(narrow + self.spread_norm(self.spread(narrow)))
        fused: Tensor = self.norm(features + self.widen(spread))
        return fused


class HybridEncoder(nn.Module):
    """Attention on the coarsest levels, then fusion from coarse to fine and from fine to coarse."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.coarse_levels = 1 + config.extra_level
        steps = config.levels - 1
        self.layers = nn.ModuleList(CoarseAttention(config) for _ in range(config.encoder_layers))
        self.level_embedding = nn.Parameter(
            torch.randn(self.coarse_levels, config.width), requires_grad=config.encoder_layers > 0
        )
        self.to_fine = nn.ModuleList(Fusion(config.width) for _ in range(steps))
        self.to_coarse = nn.ModuleList(Fusion(config.width) for _ in range(steps))
        self.halve = nn.ModuleList(
            nn.Conv2d(config.width, config.width, 3, stride=2, padding=1) for _ in range(steps)
        )

    def forward(self, features: FeatureTokens) -> FeatureTokens:
        positions = self._positions(features)
        for layer in self.layers:
            features = run_layer(layer, features, positions, config=self.config)
        return run_layer(self._fuse, features, config=self.config)

    def _positions(self, features: FeatureTokens) -> Tensor:
        """(B, n, D) of the coarse tokens, fp32."""
        coarse = features.shapes[-self.coarse_levels :]
        _, centres = _split_last(token_centres(features), sum(h * w for h, w in coarse))
        levels = spread_levels(self.level_embedding, coarse)
        return sine_embedding(centres, features.tokens.shape[-1] // 2) + levels

    def _fuse(self, features: FeatureTokens) -> FeatureTokens:
        maps = [features.level(index) for index in range(len(features.shapes))]
        padded = _padded_cells(features)
        for index in reversed(range(len(maps) - 1)):
            height, width = features.shapes[index]
            coarse = functional.interpolate(maps[index + 1], scale_factor=2.0, mode="nearest")
            maps[index] = self.to_fine[index](
                maps[index], coarse[..., :height, :width], padded[index]
            )
        for index in range(len(maps) - 1):
            fine = self.halve[index](maps[index].masked_fill(padded[index], 0.0))
            maps[index + 1] = self.to_coarse[index](maps[index + 1], fine, padded[index + 1])
        return features.with_tokens(torch.cat([m.flatten(2).transpose(1, 2) for m in maps], 1))


def _split_last(tokens: Tensor, count: int) -> Sequence[Tensor]:
    """The first tokens of (B, S, D) and the last `count`."""
    return torch.split(tokens, [tokens.shape[1] - count, count], 1)


def _padded_cells(features: FeatureTokens) -> list[Tensor]:
    """(B, 1, H, W) of each level, True where padded."""
    counts = [height * width for height, width in features.shapes]
    parts = torch.split(~features.valid, counts, 1)
    return [part.view(-1, 1, *shape) for part, shape in zip(parts, features.shapes, strict=True)]
