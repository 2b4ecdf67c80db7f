"""The objective: what the detector's beliefs cost against the targets.

B images, Q queries, M objects of one image, L decoder layers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from opendet.data.batch import Batch
from opendet.model.detector import OpenDetector
from opendet.model.outputs import DetectorOutput, LayerOutput
from opendet.train.assignment import ALIGNMENT_SHARE, assign_many
from opendet.train.distributed import Ranks
from opendet.train.layer_losses import LayerLosses
from opendet.train.matching import Matches, match_one_to_one, matching_costs, pairwise_ious
from opendet.train.naming_losses import draw_named, naming_costs
from opendet.train.normalise import Cost, means
from opendet.train.objective_config import ObjectiveConfig
from opendet.train.randomness import StepDraws
from opendet.train.seen import FurtherObjective, Seen
from opendet.train.text_vectors import TextVectors
from opendet.train.truths import Truths, read_truths
from opendet.train.wrong_names import with_wrong_names


@dataclass(frozen=True, slots=True)
class LossReport:
    """The loss of a step and what it is made of."""

    total: Tensor
    """Scalar, with gradient."""
    parts: dict[str, Tensor]
    """Scalars without gradient, unweighted: `object`, `l1`, `giou`, `align`, `iou` of the last
    layer, their sums over the layers before it as `..._aux`, over the noised boxes of all layers as
    `..._denoising`, the encoder's as `..._proposals`; `naming`, `distillation`, `contrast`,
    `text_denoising`, `caption`; of further objectives `deco_kl`, `deco_align`, `image_caption` and
    `region_phrase`; `matched` counts the last layer's pairs."""


class Objective:
    """Adds up the losses of proposals, decoder layers, noised boxes, names and distillation.

    `text`: the teacher's vectors of the names. Without one nothing is aligned, distilled or noised.
    `further`: objectives that some detectors have beside them. `agreement`: (P, D) queries and the
    names of their objects -> (P,) how likely they show those, NaN where nobody knows; for the joint
    loss of a detector without an aligner (DeCo-DETR's).
    """

    def __init__(
        self,
        config: ObjectiveConfig,
        text: TextVectors | None,
        further: Sequence[FurtherObjective] = (),
        agreement: Callable[[Tensor, Sequence[str | None]], Tensor] | None = None,
    ) -> None:
        self.config = config
        self.text = text
        self.further = tuple(further)
        self.agreement = agreement

    def __call__(
        self, detector: OpenDetector, output: DetectorOutput, batch: Batch, draws: StepDraws
    ) -> LossReport:
        truths = read_truths(
            batch, self.text, draws, pseudo_box_weight=self.config.pseudo_box_weight
        )
        truths = with_wrong_names(truths, batch, self.text, draws, self.config)
        alignments = _align(detector, output, truths)
        matches = self._match(detector, output, truths, _of_objects(alignments, truths))
        costs = self._layer_costs(output, truths, matches, alignments)
        named = draw_named(matches[-1], truths, draws, most=self.config.named_objects)
        lessons = naming_costs(detector, output, named, truths, self.text, draws, self.config)
        costs += lessons.costs.items()
        seen = Seen(detector, output, batch, truths, matches[-1], named, lessons, self.text, draws)
        weights = part_weights(self.config)
        for one in self.further:
            costs += one.costs(seen).items()
            weights.update(one.weights(draws.step))
        return self._report(detector, costs, weights, matched=len(matches[-1]))

    def before_update(self, step: int, detector: nn.Module) -> None:
        """For objectives that hold parts of the detector still."""
        for one in self.further:
            one.before_update(step, detector)

    def finish_step(self, step: int, ranks: Ranks) -> None:
        """After the optimizer's step, for objectives that keep more than gradients."""
        for one in self.further:
            one.finish_step(step, ranks)

    def _match(
        self,
        detector: OpenDetector,
        output: DetectorOutput,
        truths: Truths,
        alignments: Sequence[Tensor | None],
    ) -> list[Matches]:
        """Of the proposals and of every decoder layer."""
        many = detector.config.cross_layers
        layers = output.layers
        quality = [
            _pair_quality(layer, alignment, truths)
            for layer, alignment in zip(layers[:many], alignments[:many], strict=True)
        ]
        costs = [self._cost(output.proposals, None, truths)]
        for layer, alignment in zip(layers[many:], alignments[many:], strict=True):
            costs.append(self._cost(layer, alignment, truths))
        proposals, *one = match_one_to_one(costs, output.valid, truths.counts.tolist())
        assigned = [
            assign_many(
                pairs,
                output.valid,
                truths.there,
                most=self.config.many_per_object,
                threshold=self.config.many_threshold,
            )
            for pairs in quality
        ]
        return [proposals, *assigned, *one]

    def _cost(self, layer: LayerOutput, alignment: Tensor | None, truths: Truths) -> Tensor:
        logits = _name_logits(layer, alignment, truths)
        return matching_costs(logits, layer.boxes_cxcywh, truths.boxes_cxcywh, self.config)

    def _layer_costs(
        self,
        output: DetectorOutput,
        truths: Truths,
        matches: Sequence[Matches],
        alignments: Sequence[Tensor | None],
    ) -> list[tuple[str, Cost]]:
        """(name of the part, its cost): parts of one name are added up."""
        losses = LayerLosses(truths, self.config)
        proposals = losses.of_proposals(output.proposals, output.valid, matches[0])
        parts = _named_parts(proposals, "_proposals")
        last = len(output.layers) - 1
        for number, (layer, match, alignment) in enumerate(
            zip(output.layers, matches[1:], alignments, strict=True)
        ):
            agreed = self._agreed(layer, truths, match) if number == last else None
            costs = losses.of_decoder(layer, output.valid, match, alignment, agreed)
            parts += _named_parts(costs, "" if number == last else "_aux")
        if output.denoising is not None:
            for layer in output.denoising.layers:
                parts += _named_parts(losses.of_denoising(output.denoising, layer), "_denoising")
        return parts

    def _agreed(self, layer: LayerOutput, truths: Truths, match: Matches) -> Tensor | None:
        """(P,) how likely the matched queries show their objects' names, where that is asked of
        another than the aligner."""
        if self.agreement is None:
            return None
        pairs = zip(match.images.tolist(), match.targets.tolist(), strict=True)
        names = [truths.names[image][target] for image, target in pairs]
        return self.agreement(layer.queries[match.images, match.queries], names)

    def _report(
        self,
        detector: OpenDetector,
        costs: Sequence[tuple[str, Cost]],
        weights: Mapping[str, float],
        *,
        matched: int,
    ) -> LossReport:
        parts: dict[str, Tensor] = {}
        for (name, _), mean in zip(costs, means([cost for _, cost in costs]), strict=True):
            parts[name] = parts[name] + mean if name in parts else mean
        weighted = [weights[name] * part for name, part in parts.items()]
        total = torch.stack([*weighted, _connection(detector)]).sum()
        report = {name: part.detach() for name, part in parts.items()}
        report["matched"] = torch.tensor(float(matched))
        return LossReport(total, report)


def part_weights(config: ObjectiveConfig) -> dict[str, float]:
    """The weight of every part of a report."""
    layer = {
        "object": config.object_weight,
        "l1": config.l1_weight,
        "giou": config.giou_weight,
        "align": config.align_weight,
        "iou": config.iou_weight,
    }
    places = {
        "": 1.0,
        "_aux": 1.0,
        "_proposals": config.proposal_weight,
        "_denoising": config.denoising_weight,
    }
    weights = {
        name + place: weight * scale
        for name, weight in layer.items()
        for place, scale in places.items()
    }
    return {
        **weights,
        "naming": config.naming_weight,
        "distillation": config.distillation_weight,
        "contrast": config.contrast_weight,
        "text_denoising": config.text_denoising_weight,
        "caption": config.caption_weight,
    }


def _align(detector: OpenDetector, output: DetectorOutput, truths: Truths) -> list[Tensor | None]:
    """Of every decoder layer (B, Q, M + K) logits, of the objects' names and of the wrong ones;
    None without an aligner or a teacher."""
    if truths.texts is None or not len(detector.aligners):
        return [None] * len(output.layers)
    texts = truths.texts
    if truths.wrong is not None:
        texts = torch.cat((texts, truths.wrong.texts), 1)
    return [
        aligner(layer.queries, texts)
        for aligner, layer in zip(detector.aligners, output.layers, strict=True)
    ]


def _of_objects(alignments: Sequence[Tensor | None], truths: Truths) -> list[Tensor | None]:
    """(B, Q, M) of each: wrong names have no part in the matching."""
    objects = truths.there.shape[1]
    return [None if one is None else one[..., :objects] for one in alignments]


def _name_logits(layer: LayerOutput, alignment: Tensor | None, truths: Truths) -> Tensor:
    """(B, Q, M) that a query shows an object by its name; by being an object, where that has
    none."""
    there = layer.logits.float()[..., None]  # (B, Q, 1)
    if alignment is None:
        return there.expand(-1, -1, truths.there.shape[1])
    return torch.where(truths.texted[:, None], alignment.float(), there)


@torch.no_grad()
def _pair_quality(layer: LayerOutput, alignment: Tensor | None, truths: Truths) -> Tensor:
    """(B, Q, M) in [0, 1] for the one-to-many assignment."""
    ious = pairwise_ious(layer.boxes_cxcywh, truths.boxes_cxcywh)
    aligned = _name_logits(layer, alignment, truths).sigmoid()
    quality = ALIGNMENT_SHARE * aligned + (1 - ALIGNMENT_SHARE) * ious
    return quality.nan_to_num(nan=0.0)


def _named_parts(costs: Mapping[str, Cost], suffix: str) -> list[tuple[str, Cost]]:
    return [(name + suffix, cost) for name, cost in costs.items()]


def _connection(detector: OpenDetector) -> Tensor:
    """Zero, with a gradient of zero for the aligners, which nothing else reaches without a teacher:
    DistributedDataParallel would wait for them for ever."""
    zero = torch.zeros((), device=next(detector.parameters()).device)
    return sum((p.sum() * 0.0 for p in detector.aligners.parameters()), zero)
