"""BVLA-M: how alike queries and names are, in training (spec/open_det.md A.2).

B images, Q queries, M names of an image, D the detector's width, D_t the text vectors' width.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from opendet.model.heads import OBJECT_PRIOR

FIRST_SCALE = 20.0
LARGEST_SCALE = 100.0


class Aligner(nn.Module):
    """S = cos(Q M_VL, T) + cos(Q, T M_LV), as the logit of "this query shows what is called so".

    One direction compares in the text's space alone, as GenerateU does. With two, S lies in [-2, 2]
    and its half is scaled, so that a logit means the same whatever the directions.
    """

    def __init__(
        self,
        width: int,
        text_width: int,
        *,
        direction: Literal["vision_to_language", "bidirectional"],
        scale: Literal["learned", "none"] = "learned",
    ) -> None:
        super().__init__()
        self.to_language = nn.Linear(width, text_width, bias=False)  # M_VL
        self.to_vision = (
            nn.Linear(text_width, width, bias=False) if direction == "bidirectional" else None
        )  # M_LV
        learned = scale == "learned"
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE))) if learned else None
        prior = -math.log((1 - OBJECT_PRIOR) / OBJECT_PRIOR)
        self.bias = nn.Parameter(torch.tensor(prior)) if learned else None

    def forward(self, queries: Tensor, texts: Tensor) -> Tensor:
        """queries (B, Q, D), texts (B, M, D_t) unit or zero where absent -> logits (B, Q, M) fp32.

        Gradient goes to the queries and the matrices; the texts' tower is frozen.
        """
        with torch.autocast(queries.device.type, enabled=False):
            queries, texts = queries.float(), texts.float()
            similarity = _cosines(self.to_language(queries), texts)
            if self.to_vision is not None:
                similarity = similarity + _cosines(queries, self.to_vision(texts))
            if self.log_scale is None or self.bias is None:
                return similarity
            directions = 1 if self.to_vision is None else 2
            with torch.no_grad():  # the weight itself, as CLIP: past a clamp no gradient leads back
                self.log_scale.clamp_(max=math.log(LARGEST_SCALE))
            logits: Tensor = self.log_scale.exp() * similarity / directions + self.bias
            return logits


def _cosines(first: Tensor, second: Tensor) -> Tensor:
    """(B, Q, C), (B, M, C) -> (B, Q, M) in [-1, 1]."""
    return functional.normalize(first, dim=-1) @ functional.normalize(second, dim=-1).mT
