"""The encoder: every token of every level hears of the others.

The paper's is deformable: a token reads a few points around itself, on every level. The other is
in hybrid_encoder.py.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from opendet.model.config import DetectorConfig
from opendet.model.deformable_attention import DeformableAttention
from opendet.model.features import FeatureTokens, cell_centres, spread_levels
from opendet.model.positions import sine_embedding
from opendet.model.token_linear import TokenLinear

# B images, S tokens, L levels, D width

TOKENS_AT_ONCE = 2048
"""On a CPU without gradient a layer works on so many: its activations stay in the cache."""


class FeedForward(nn.Module):
    """x + MLP(x), normalised after."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            TokenLinear(width, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            TokenLinear(hidden, width),
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
        values = self.attention.project(features)
        tokens = features.tokens
        if torch.is_grad_enabled() or tokens.device.type != "cpu" or torch.compiler.is_exporting():
            return features.with_tokens(self._update(tokens, positions, centres, features, values))
        count = max(1, TOKENS_AT_ONCE // len(tokens))
        parts = [
            self._update(*part, features, values)
            for part in zip(
                torch.split(tokens, count, 1),
                torch.split(positions, count, 1),
                torch.split(centres, count, 1),
                strict=True,
            )
        ]
        return features.with_tokens(torch.cat(parts, 1))

    def _update(
        self,
        tokens: Tensor,
        positions: Tensor,
        centres: Tensor,
        features: FeatureTokens,
        values: Tensor,
    ) -> Tensor:
        """The tokens (B, n, D) after attention to all values and the feed-forward block."""
        read = self.attention.read(tokens + positions, centres, features, values)
        output: Tensor = self.feedforward(self.norm(tokens + self.dropout(read)))
        return output


class Encoder(nn.Module):
    """The deformable layers, with sine positions and a learned embedding of the level."""

    position_shift: Tensor
    """In cells; a buffer because weights from elsewhere may have learned positions of corners."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.level_embedding = nn.Parameter(
            torch.randn(config.levels, config.width), requires_grad=config.encoder_layers > 0
        )
        self.register_buffer("position_shift", torch.zeros(()))

    def forward(self, features: FeatureTokens) -> FeatureTokens:
        if not len(self.layers):
            return features
        centres = token_centres(features)
        positions = self.positions(features)
        for layer in self.layers:
            features = run_layer(layer, features, positions, centres, config=self.config)
        return features

    def positions(self, features: FeatureTokens) -> Tensor:
        """(B, S, D) sine positions and the levels' embeddings, fp32."""
        cells = spread_levels(features.extents_wh, features.shapes)  # (B, S, 2)
        places = token_centres(features) + self.position_shift / cells
        levels = spread_levels(self.level_embedding, features.shapes)
        return sine_embedding(places, features.tokens.shape[-1] // 2) + levels


def run_layer(
    layer: Callable[..., FeatureTokens],
    features: FeatureTokens,
    *args: Tensor,
    config: DetectorConfig,
) -> FeatureTokens:
    """layer(features, *args), which with gradient forgets its activations if images are large."""
    longest = max(features.shapes[0]) * config.backbone.strides[0]  # pixels, padded
    if not torch.is_grad_enabled() or not 0 < config.checkpoint_from <= longest:
        return layer(features, *args)
    kept: FeatureTokens = checkpoint(layer, features, *args, use_reentrant=False)
    return kept


def token_centres(features: FeatureTokens) -> Tensor:
    """(B, S, 2) xy in [0, 1] of the unpadded image; beyond 1 where padded."""
    return torch.cat(
        [
            cell_centres(shape, features.extents_wh[:, level]).flatten(1, 2)
            for level, shape in enumerate(features.shapes)
        ],
        1,
    )
