"""What the detector returns.

B images, H x W their padded size, Q queries, R noised boxes, D the detector's width.
"""

from dataclasses import dataclass

from torch import Tensor

from opendet.model.denoising import NoisedBoxes
from opendet.model.features import FeatureTokens


@dataclass(frozen=True, slots=True)
class LayerOutput:
    """What one layer believes of each query."""

    logits: Tensor
    """(B, Q) that the query is an object, fp32."""
    boxes_cxcywh: Tensor
    """(B, Q, 4) in [0, 1] of the unpadded image, fp32."""
    queries: Tensor
    """(B, Q, D) what the heads read."""
    iou_logits: Tensor | None = None
    """(B, Q) of the boxes' overlap with their object, fp32, where the detector has such a head."""

    def part(self, slots: slice) -> "LayerOutput":
        """The same of some of the queries."""
        ious = None if self.iou_logits is None else self.iou_logits[:, slots]
        return LayerOutput(
            self.logits[:, slots], self.boxes_cxcywh[:, slots], self.queries[:, slots], ious
        )


@dataclass(frozen=True, slots=True)
class DenoisingOutput:
    """What the decoder made of noised boxes, in training."""

    noised: NoisedBoxes
    layers: tuple[LayerOutput, ...]
    """(B, R, ...)"""


@dataclass(frozen=True, slots=True)
class DetectorOutput:
    """Everything that losses and inference read."""

    proposals: LayerOutput
    """The encoder's proposals that became the queries."""
    layers: tuple[LayerOutput, ...]
    """The decoder's layers, the last one is the answer."""
    valid: Tensor
    """(B, Q) True for a query, False where an image has fewer than Q. In order of score."""
    denoising: DenoisingOutput | None
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

    @property
    def queries(self) -> Tensor:
        """(B, Q, D) the last layer's."""
        return self.layers[-1].queries

    def scores(self) -> Tensor:
        """(B, Q) in [0, 1] that the query is an object; 0 for queries that are not there.

        With an IoU head, times the overlap that it expects (GenerateU).
        """
        scores = self.logits.float().sigmoid() * self.valid
        ious = self.layers[-1].iou_logits
        return scores if ious is None else scores * ious.float().sigmoid()
