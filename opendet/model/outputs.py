"""What the detector returns.

B images, H x W their padded size, Q queries, D the detector's width.
"""

from dataclasses import dataclass

from torch import Tensor

from opendet.model.features import FeatureTokens


@dataclass(frozen=True, slots=True)
class LayerOutput:
    """What one layer believes of each query."""

    logits: Tensor
    """(B, Q) that the query is an object, fp32."""
    boxes_cxcywh: Tensor
    """(B, Q, 4) in [0, 1] of the unpadded image, fp32."""


@dataclass(frozen=True, slots=True)
class DetectorOutput:
    """Everything that losses and inference read."""

    proposals: LayerOutput
    """The encoder's proposals that became the queries."""
    layers: tuple[LayerOutput, ...]
    """The decoder's layers, the last one is the answer."""
    valid: Tensor
    """(B, Q) True for a query, False where an image has fewer than Q. In order of score."""
    queries: Tensor
    """(B, Q, D) the last layer's."""
    images: Tensor
    """(B, 3, H, W) normalised, zero where padded; prompts may look at them again."""
    features: FeatureTokens
    """The neck's tokens, before the encoder."""
    memory: FeatureTokens
    """The encoder's tokens."""
    sizes_hw: Tensor
    """(B, 2) of the unpadded images."""

    @property
    def logits(self) -> Tensor:
        return self.layers[-1].logits

    @property
    def boxes_cxcywh(self) -> Tensor:
        return self.layers[-1].boxes_cxcywh

    def scores(self) -> Tensor:
        """(B, Q) in [0, 1] that the query is an object; 0 for queries that are not there."""
        return self.logits.float().sigmoid() * self.valid
