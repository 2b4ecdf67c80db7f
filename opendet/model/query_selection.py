"""Query selection: the encoder's best tokens become the decoder's queries.

In training a fixed number, so that batches are rectangular; at test the tokens whose probability
is above the paper's lambda, which are a prefix of the same sorted list.
B images, S tokens, Q queries, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

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
        best_logits, best = self._best(ranked)
        valid = self._keep(best_logits)
        most = self._most(valid)
        best, valid = best[:, :most], valid[:, :most]
        tokens = projected.gather(1, best[..., None].expand(-1, -1, projected.shape[-1]))
        references = anchors.gather(1, best[..., None].expand(-1, -1, 4))
        boxes = (self.box_head(tokens).float() + inverse_sigmoid(references)).sigmoid()
        return Selection(
            proposals=LayerOutput(logits.gather(1, best), boxes, tokens),
            content=self.content(tokens.detach()),
            valid=valid,
        )

    def _best(self, ranked: Tensor) -> tuple[Tensor, Tensor]:
        """The greatest of (B, S) in their order, and where they are, (B, Q) each."""
        count, tokens = self.config.queries, ranked.shape[1]
        if not torch.compiler.is_exporting():
            best = ranked.topk(min(count, tokens), 1)
            return best.values, best.indices
        # a graph has room for as many whatever the image: what is lacking is marked as no token
        best = functional.pad(ranked, (0, count), value=-torch.inf).topk(count, 1)
        return best.values, best.indices.clamp(max=tokens - 1)

    def _most(self, valid: Tensor) -> int:
        """Of (B, Q) the most queries of an image; an exporter's graph keeps room for all."""
        if torch.compiler.is_exporting():
            return valid.shape[1]
        fewest, most = torch.stack(valid.sum(1).aminmax()).tolist()
        if not fewest:  # attention over no query at all is NaN, or dies of its shape
            # training knows the images' keys, and says which they were
            raise (FloatingPointError if self.training else ValueError)(
                "no token of an image has a finite score: it or the detector's weights hold NaN"
            )
        return int(most)

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
    usable = usable | (memory.valid & ~usable.any(1, keepdim=True))
    return torch.cat((centres, sides.expand_as(centres)), -1), usable
