"""What one layer's beliefs cost, once it is known which query learns from which object.

B images, Q queries, M objects of one image, R noised boxes, P matched pairs.
"""

import torch
from torch import Tensor

from opendet.model.outputs import DenoisingOutput, LayerOutput
from opendet.train.losses import (
    alignment_loss,
    box_losses,
    focal_loss,
    joint_target,
    overlap_loss,
    quality_loss,
    same_name_targets,
)
from opendet.train.matching import Matches
from opendet.train.normalise import Cost
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.truths import Truths

LEAST_QUALITY = 1e-3


class LayerLosses:
    """The losses of a batch's layers; what they share is worked out once."""

    def __init__(self, truths: Truths, config: ObjectiveConfig) -> None:
        self.truths = truths
        self.config = config
        if truths.texts is not None:
            threshold = config.align_threshold if config.align_loss == "masked" else 2.0
            self._same, self._counted = same_name_targets(
                truths.texts, truths.texted, threshold=threshold, ignore=config.align_ignore
            )  # (B, M, M)

    def of_proposals(self, layer: LayerOutput, valid: Tensor, match: Matches) -> dict[str, Cost]:
        """The encoder's: focal loss and boxes."""
        l1, giou, _ = self._boxes(layer, match)
        wanted = torch.zeros_like(layer.logits)
        wanted[match.images, match.queries] = 1.0
        judged = self._judged(valid)
        loss = focal_loss(layer.logits[judged], wanted[judged])
        return {"object": Cost(loss, len(match)), "l1": l1, "giou": giou}

    def of_decoder(
        self,
        layer: LayerOutput,
        valid: Tensor,
        match: Matches,
        alignment: Tensor | None,
        agreed: Tensor | None = None,
    ) -> dict[str, Cost]:
        """A decoder layer's. alignment (B, Q, M + K) logits, where there is an aligner: of the
        objects' names, then of the wrong ones. agreed (P,) stands in for it in the joint loss
        where there is none; NaN where nobody knows."""
        l1, giou, iou = self._boxes(layer, match)
        wanted = torch.zeros_like(layer.logits)
        wanted[match.images, match.queries] = self._object_targets(
            layer, match, iou, self._aligned(match, alignment, agreed, otherwise=iou)
        )
        judged = self._judged(valid)
        logits, targets = layer.logits[judged], wanted[judged]
        loss = (
            focal_loss(logits, targets)
            if self.config.object_loss == "focal"
            else quality_loss(logits, targets, self.config.joint_form)
        )
        costs = {"object": Cost(loss, len(match)), "l1": l1, "giou": giou}
        if alignment is not None:
            costs["align"] = self._alignment(alignment, judged, match)
        if layer.iou_logits is not None:
            own = layer.iou_logits[match.images, match.queries]
            costs["iou"] = Cost(overlap_loss(own, iou), len(match))
        return costs

    def of_denoising(self, output: DenoisingOutput, layer: LayerOutput) -> dict[str, Cost]:
        """The noised boxes': those noised little find back, the others are no object."""
        noised = output.noised
        learned = noised.positive & noised.valid
        images, queries = learned.nonzero().unbind(1)
        match = Matches(images, queries, noised.targets[images, queries], torch.zeros_like(images))
        l1, giou, iou = self._boxes(layer, match)
        judged = self._judged(noised.valid)
        loss = focal_loss(layer.logits[judged], learned[judged].float())
        costs = {"object": Cost(loss, len(match)), "l1": l1, "giou": giou}
        if layer.iou_logits is not None:
            own = layer.iou_logits[images, queries]
            costs["iou"] = Cost(overlap_loss(own, iou), len(match))
        return costs

    def _judged(self, valid: Tensor) -> Tensor:
        """(B, Q) the queries that are objects or background: not on an image that nobody marked."""
        return valid & self.truths.searched[:, None]

    def _boxes(self, layer: LayerOutput, match: Matches) -> tuple[Cost, Cost, Tensor]:
        """L1, GIoU, and the pairs' IoU (P,)."""
        predicted = layer.boxes_cxcywh[match.images, match.queries]  # (P, 4)
        wanted = self.truths.boxes_cxcywh[match.images, match.targets]  # (P, 4)
        l1, giou, iou = box_losses(predicted, wanted)
        weights = self.truths.box_weights[match.images]  # (P,)
        count = (weights > 0).sum()
        return Cost((weights * l1).sum(), count), Cost((weights * giou).sum(), count), iou

    def _object_targets(
        self, layer: LayerOutput, match: Matches, iou: Tensor, aligned: Tensor
    ) -> Tensor:
        """(P,) what the score of a matched query should be."""
        if self.config.object_loss == "focal":
            return torch.ones_like(iou)
        targets = iou
        if self.config.object_loss == "joint":
            own = layer.logits[match.images, match.queries].float().sigmoid()
            targets = joint_target(own, aligned, iou, alpha=self.config.joint_alpha)
        if self.config.many_decay:
            targets = targets * torch.exp(-match.ranks / self.config.many_decay)
        return targets.clamp(min=LEAST_QUALITY)

    def _aligned(
        self, match: Matches, alignment: Tensor | None, agreed: Tensor | None, otherwise: Tensor
    ) -> Tensor:
        """(P,) the probability that a query shows its object's name; an object without a name,
        and a detector that compares none, has its IoU in place of it."""
        if alignment is None:
            return otherwise if agreed is None else torch.where(agreed.isnan(), otherwise, agreed)
        own = alignment[match.images, match.queries, match.targets].float().sigmoid()
        return torch.where(self.truths.texted[match.images, match.targets], own, otherwise)

    def _alignment(self, logits: Tensor, judged: Tensor, match: Matches) -> Cost:
        """Matched queries against their object's row, all others against nothing."""
        own = logits[..., : self.truths.there.shape[1]]  # (B, Q, M)
        targets = torch.zeros_like(own)
        targets[match.images, match.queries] = self._same[match.images, match.targets]
        counted = judged[:, :, None] & self.truths.texted[:, None]
        if self.truths.excused is not None:
            free = torch.ones_like(judged)
            free[match.images, match.queries] = False
            counted &= ~(free[:, :, None] & self.truths.excused[:, None])
        counted[match.images, match.queries] &= self._counted[match.images, match.targets]
        loss = alignment_loss(own, targets, counted, modulation=self.config.align_modulation)
        loss = loss + self._misnamed(logits[..., own.shape[2] :], judged, match)
        if self.config.align_over == "cells":
            return Cost(loss, targets[counted].sum())
        return Cost(loss, self.truths.texted[match.images, match.targets].sum())

    def _misnamed(self, logits: Tensor, judged: Tensor, match: Matches) -> Tensor | float:
        """(B, Q, K) of the wrong names, which no query shows. Of a query whose object has no name
        nobody knows which are wrong."""
        if self.truths.wrong is None:
            return 0.0
        counted = judged[:, :, None] & self.truths.wrong.there[:, None]
        named = self.truths.texted[match.images, match.targets]  # (P,)
        counted[match.images, match.queries] &= named[:, None]
        nothing = torch.zeros_like(logits)
        return alignment_loss(logits, nothing, counted, modulation=self.config.align_modulation)
