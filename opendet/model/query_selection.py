"""Query selection: the encoder's best tokens become the decoder's queries.

In training a fixed number, so that batches are rectangular; at test the tokens whose probability
is above the paper's lambda, which are a prefix of the same sorted list.
B images, S tokens, Q queries, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from opendet.model.config import DetectorConfig
from opendet.model.encoder import token_centres
from opendet.model.features import FeatureTokens
from opendet.model.heads import build_box_head, build_object_head
from opendet.model.outputs import LayerOutput
from opendet.model.positions import inverse_sigmoid

ANCHOR_SIDE = 0.05
"""Of the image, on the finest level; it doubles with the level."""
BORDER = 0.01
"""Cells whose centre is nearer to the image's border make no proposals."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The queries and what they came from."""

    proposals: LayerOutput
    content: Tensor
    """(B, Q, D)"""
    valid: Tensor
    """(B, Q)"""

    @property
    def references(self) -> Tensor:
        """(B, Q, 4) the boxes that the decoder begins at; no gradient."""
        return self.proposals.boxes_cxcywh.detach()


class QuerySelection(nn.Module):
    """Scores tokens, refines their anchors and takes the best."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.project = nn.Sequential(
            nn.Linear(config.width, config.width), nn.LayerNorm(config.width)
        )
        self.object_head = build_object_head(config.width)
        self.box_head = build_box_head(config.width)
        self.content = nn.Linear(config.width, config.width)

    def forward(self, memory: FeatureTokens) -> Selection:
        anchors, usable = token_anchors(memory)
        projected = self.project(memory.tokens.masked_fill(~usable[..., None], 0.0))
        logits = self.object_head(projected).squeeze(-1).float()  # (B, S)
        ranked = logits.masked_fill(~usable, -torch.inf)
        best = ranked.topk(min(self.config.queries, logits.shape[1]), 1).indices  # (B, Q)
        valid = self._keep(ranked.gather(1, best))
        fewest, most = torch.stack(valid.sum(1).aminmax()).tolist()
        if not fewest:  # attention over no query at all is NaN, or dies of its shape
            # training knows the images' keys, and says which they were
            raise (FloatingPointError if self.training else ValueError)(
                "no token of an image has a finite score: it or the detector's weights hold NaN"
            )
        best = best[:, :most]
        valid = valid[:, : best.shape[1]]
        tokens = projected.gather(1, best[..., None].expand(-1, -1, projected.shape[-1]))
        references = anchors.gather(1, best[..., None].expand(-1, -1, 4))
        boxes = (self.box_head(tokens).float() + inverse_sigmoid(references)).sigmoid()
        return Selection(
            proposals=LayerOutput(logits.gather(1, best), boxes, tokens),
            content=self.content(tokens.detach()),
            valid=valid,
        )

    def _keep(self, ranked_logits: Tensor) -> Tensor:
        """(B, Q) which of the sorted candidates become queries; -inf marks unusable tokens."""
        there = ranked_logits > -torch.inf
        if self.training or self.config.selection == "topk":
            return there
        above = ranked_logits.sigmoid() > self.config.selection_threshold
        above[:, : self.config.queries_min] = True
        return there & above


def token_anchors(memory: FeatureTokens) -> tuple[Tensor, Tensor]:
    """Boxes (B, S, 4) cxcywh at the cells' centres and where they are of use (B, S)."""
    centres = token_centres(memory)
    sides = torch.cat(
        [
            centres.new_full((height * width, 2), ANCHOR_SIDE * 2.0**level)
            for level, (height, width) in enumerate(memory.shapes)
        ]
    )
    inside = ((centres > BORDER) & (centres < 1 - BORDER)).all(-1)
    usable = memory.valid & inside
    # an image of a pixel or two has no centre inside, and attention over no query at all is NaN
    usable = torch.where(usable.any(1, keepdim=True), usable, memory.valid)
    return torch.cat((centres, sides.expand_as(centres)), -1), usable
