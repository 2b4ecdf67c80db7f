"""The decoder: queries read the memory and refine their boxes, layer by layer.

The first `cross_layers` have no self-attention: they gather (one-to-many supervision). The
`self_layers` after them disperse: one query per object (one-to-one). In training noised boxes go
along as queries of their own, the first ones.
B images, Q queries, R noised boxes, N = R + Q, G heads, D width.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from opendet.model.config import DetectorConfig
from opendet.model.deformable_attention import DeformableAttention
from opendet.model.denoising import NoisedBoxes, attention_block
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
        blocked: Tensor,
    ) -> Tensor:
        """queries, positions (B, N, D); references (B, N, 4) cxcywh.

        blocked (B * G, N, N), or (B, N, N), True where a query must not see another; no row is
        blocked whole.
        """
        if self.self_attention is not None and self.self_norm is not None:
            placed = queries + positions
            read, _ = self.self_attention(
                placed, placed, queries, attn_mask=blocked, need_weights=False
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
        self.heads = config.heads
        self.layers = nn.ModuleList(
            DecoderLayer(config, self_attention=index >= config.cross_layers)
            for index in range(config.layers)
        )
        self.object_heads = nn.ModuleList(build_object_head(width) for _ in self.layers)
        self.box_heads = nn.ModuleList(build_box_head(width) for _ in self.layers)
        self.iou_heads = (
            nn.ModuleList(nn.Linear(width, 1) for _ in self.layers) if config.iou_head else None
        )
        self.position_head = Perceptron(2 * width, width, width)
        self.norm = nn.LayerNorm(width)
        self.noised_content = (
            nn.Parameter(torch.randn(width) * 0.02) if config.denoising_pairs else None
        )

    def forward(
        self, selection: Selection, memory: FeatureTokens, noised: NoisedBoxes | None = None
    ) -> tuple[LayerOutput, ...]:
        """Every layer's beliefs of N queries: those of the noised boxes, then the others."""
        queries, references, valid = selection.content, selection.references, selection.valid
        blocked = ~valid[:, None].expand(-1, valid.shape[1], -1)  # (B, Q, Q)
        if noised is not None and self.noised_content is not None:
            content = self.noised_content.to(queries.dtype).expand(*noised.groups.shape, -1)
            queries = torch.cat((content, queries), 1)
            references = torch.cat((noised.boxes_cxcywh, references), 1)
            valid = torch.cat((noised.valid, valid), 1)
            blocked = attention_block(noised.groups, selection.valid.shape[1]) | ~valid[:, None]
        blocked = blocked.repeat_interleave(self.heads, 0)  # (B * G, N, N)
        return tuple(self._refine(queries, references, memory, blocked))

    def _refine(
        self, queries: Tensor, references: Tensor, memory: FeatureTokens, blocked: Tensor
    ) -> Iterator[LayerOutput]:
        looked = references  # the layer before's boxes, with gradient: look forward twice (DINO)
        for index, layer in enumerate(self.layers):
            positions = self.position_head(sine_embedding(references, queries.shape[-1] // 2))
            queries = layer(queries, positions, references, memory, blocked)
            normed = self.norm(queries)
            delta = self.box_heads[index](normed).float()
            yield LayerOutput(
                logits=self.object_heads[index](normed).squeeze(-1).float(),
                boxes_cxcywh=(delta + inverse_sigmoid(looked)).sigmoid(),
                queries=normed,
                iou_logits=self._overlap(index, normed),
            )
            looked = (delta + inverse_sigmoid(references)).sigmoid()
            references = looked.detach()

    def _overlap(self, index: int, normed: Tensor) -> Tensor | None:
        """(B, N, D) -> (B, N) logits of the boxes' IoU."""
        if self.iou_heads is None:
            return None
        logits: Tensor = self.iou_heads[index](normed).squeeze(-1).float()
        return logits
