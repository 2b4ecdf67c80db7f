"""The decoder: queries read the memory and refine their boxes, layer by layer.

The first `cross_layers` have no self-attention: they gather (one-to-many supervision). The
`self_layers` after them disperse: one query per object (one-to-one).
B images, Q queries, D width.
"""

import torch
from torch import Tensor, nn

from opendet.model.config import DetectorConfig
from opendet.model.deformable_attention import DeformableAttention
from opendet.model.encoder import FeedForward
from opendet.model.features import FeatureTokens
from opendet.model.heads import Perceptron, build_box_head, build_object_head
from opendet.model.outputs import LayerOutput
from opendet.model.positions import inverse_sigmoid, sine_embedding
from opendet.model.query_selection import Selection


class DecoderLayer(nn.Module):
    """{self-attention,} deformable cross-attention, feed-forward; each normalised after."""

    def __init__(self, config: DetectorConfig, *, self_attention: bool) -> None:
        super().__init__()
        self.self_attention = (
            nn.MultiheadAttention(
                config.width, config.heads, dropout=config.dropout, batch_first=True
            )
            if self_attention
            else None
        )
        self.self_norm = nn.LayerNorm(config.width) if self_attention else None
        self.cross_attention = DeformableAttention(
            config.width, heads=config.heads, levels=config.levels, points=config.points
        )
        self.cross_norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.feedforward = FeedForward(config.width, config.feedforward, config.dropout)

    def forward(
        self,
        queries: Tensor,
        positions: Tensor,
        references: Tensor,
        memory: FeatureTokens,
        valid: Tensor,
    ) -> Tensor:
        """queries, positions (B, Q, D); references (B, Q, 4) cxcywh; valid (B, Q)."""
        if self.self_attention is not None and self.self_norm is not None:
            placed = queries + positions
            read, _ = self.self_attention(
                placed, placed, queries, key_padding_mask=~valid, need_weights=False
            )
            queries = self.self_norm(queries + self.dropout(read))
        read = self.cross_attention(queries + positions, references, memory)
        queries = self.cross_norm(queries + self.dropout(read))
        output: Tensor = self.feedforward(queries)
        return output


class Decoder(nn.Module):
    """The layers, their heads and the refinement of boxes."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        width = config.width
        self.layers = nn.ModuleList(
            DecoderLayer(config, self_attention=index >= config.cross_layers)
            for index in range(config.layers)
        )
        self.object_heads = nn.ModuleList(build_object_head(width) for _ in self.layers)
        self.box_heads = nn.ModuleList(build_box_head(width) for _ in self.layers)
        self.position_head = Perceptron(2 * width, width, width)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, selection: Selection, memory: FeatureTokens
    ) -> tuple[Tensor, tuple[LayerOutput, ...]]:
        """The last queries (B, Q, D) and every layer's beliefs."""
        queries = selection.content
        references = selection.proposals.boxes_cxcywh.detach()
        looked = references  # the layer before's boxes, with gradient: look forward twice (DINO)
        outputs = []
        for layer, object_head, box_head in zip(
            self.layers, self.object_heads, self.box_heads, strict=True
        ):
            positions = self.position_head(sine_embedding(references, queries.shape[-1] // 2))
            queries = layer(queries, positions, references, memory, selection.valid)
            normed = self.norm(queries)
            delta = box_head(normed).float()
            boxes = (delta + inverse_sigmoid(looked)).sigmoid()
            outputs.append(LayerOutput(object_head(normed).squeeze(-1).float(), boxes))
            looked = (delta + inverse_sigmoid(references)).sigmoid()
            references = looked.detach()
        assert torch.is_tensor(queries)
        return self.norm(queries), tuple(outputs)
