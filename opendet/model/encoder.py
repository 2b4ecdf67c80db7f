"""The deformable encoder: every token reads a few points around itself, on every level."""

import torch
from torch import Tensor, nn

from opendet.model.config import DetectorConfig
from opendet.model.deformable_attention import DeformableAttention
from opendet.model.features import FeatureTokens, cell_centres
from opendet.model.positions import sine_embedding

# B images, S tokens, L levels, D width


class FeedForward(nn.Module):
    """x + MLP(x), normalised after."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, width),
            nn.Dropout(dropout),
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        output: Tensor = self.norm(tokens + self.layers(tokens))
        return output


class EncoderLayer(nn.Module):
    """Deformable self-attention and a feed-forward block, both normalised after."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.attention = DeformableAttention(
            config.width, heads=config.heads, levels=config.levels, points=config.points
        )
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.width)
        self.feedforward = FeedForward(config.width, config.feedforward, config.dropout)

    def forward(self, features: FeatureTokens, positions: Tensor, centres: Tensor) -> FeatureTokens:
        """positions (B, S, D), centres (B, S, 2) in [0, 1] of the unpadded image."""
        read = self.attention(features.tokens + positions, centres, features)
        tokens = self.norm(features.tokens + self.dropout(read))
        return features.with_tokens(self.feedforward(tokens))


class Encoder(nn.Module):
    """The layers, with sine positions and a learned embedding of the level."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.level_embedding = nn.Parameter(torch.randn(config.levels, config.width))

    def forward(self, features: FeatureTokens) -> FeatureTokens:
        if not len(self.layers):
            return features
        centres = token_centres(features)
        positions = sine_embedding(centres, features.tokens.shape[-1] // 2)
        levels = self.level_embedding.repeat_interleave(
            torch.tensor([h * w for h, w in features.shapes], device=centres.device), 0
        )
        for layer in self.layers:
            features = layer(features, positions + levels, centres)
        return features


def token_centres(features: FeatureTokens) -> Tensor:
    """(B, S, 2) xy in [0, 1] of the unpadded image; beyond 1 where padded."""
    return torch.cat(
        [
            cell_centres(shape, features.extents_wh[:, level]).flatten(1, 2)
            for level, shape in enumerate(features.shapes)
        ],
        1,
    )
