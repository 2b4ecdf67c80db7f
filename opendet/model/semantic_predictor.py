"""g_phi of DeCo-DETR: which of given classes enriched queries show.

N queries, C classes, D_c the width of the pool's CLIP.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

TEMPERATURE = 0.01
"""The cosines are divided by it, as CLIP's are."""


class SemanticPredictor(nn.Module):
    """Cross-attention from queries to class vectors, then their cosines.

    The classes are keys and values, in no order: another list, or a longer one, needs no training.
    """

    def __init__(self, width: int, *, layers: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(
                f"detector.prototypes.predictor_heads: {heads} heads do not divide the pool's "
                f"width, {width}"
            )
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(layers))

    def forward(self, queries: Tensor, classes: Tensor) -> Tensor:
        """queries (N, D_c), classes (C, D_c) unit -> logits (N, C), fp32; their softmax is t."""
        with torch.autocast(queries.device.type, enabled=False):
            read, classes = queries.float(), classes.float()
            for layer in self.layers:
                read = layer(read, classes)
            return functional.normalize(read, dim=-1) @ classes.T / TEMPERATURE


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        # a beginning that changes nothing: cosines with the classes mean something at once
        nn.init.zeros_(self.attention.out_proj.weight)

    def forward(self, queries: Tensor, classes: Tensor) -> Tensor:
        """(N, D_c), (C, D_c) -> (N, D_c)."""
        asked, known = self.norm(queries)[None], classes[None]
        read: Tensor = self.attention(asked, known, known, need_weights=False)[0]
        return queries + read[0]
