"""The objective: what the detector's beliefs cost against the targets.

B images, Q queries, P matched pairs of a layer, N objects to name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opendet.data.batch import Target
from opendet.model.detector import OpenDetector
from opendet.model.outputs import DetectorOutput, LayerOutput
from opendet.train.losses import box_losses, distillation_loss, focal_loss, quality_loss
from opendet.train.matching import Matches, match_one_to_one
from opendet.train.objective_config import ObjectiveConfig

SHAKE = 0.05
"""Deviation of the shaken target boxes, in units of their sides."""


@dataclass(frozen=True, slots=True)
class LossReport:
    """The loss of a step and what it is made of."""

    total: Tensor
    """Scalar, with gradient."""
    parts: dict[str, Tensor]
    """Scalars without gradient, unweighted: `object`, `l1`, `giou` of the last layer, their sums
    over the other layers as `..._aux`, `naming`, `distillation`; `matched` counts the pairs."""


@dataclass(frozen=True, slots=True)
class _Named:
    """The objects of a step that have a name to learn."""

    images: Tensor
    """(N,) int64"""
    queries: Tensor
    """(N,) int64"""
    boxes_cxcywh: Tensor
    """(N, 4) the targets'."""
    names: list[str]


class Objective:
    """Adds up the losses of proposals, decoder layers, names and distillation."""

    def __init__(self, config: ObjectiveConfig) -> None:
        self.config = config

    def __call__(
        self,
        detector: OpenDetector,
        output: DetectorOutput,
        targets: Sequence[Target],
        text_vectors: Mapping[str, Tensor] | None,
        generator: torch.Generator,
    ) -> LossReport:
        """text_vectors: by name, unit (D_t,), the teacher's; None or a missing name: no
        distillation of it. The generator (of the CPU) draws names and objects."""
        layers = (output.proposals, *output.layers)
        boxes = [target.boxes_cxcywh.float() for target in targets]
        matches = match_one_to_one(layers, output.valid, boxes, self.config)
        costs = [
            self._layer_losses(layer, output.valid, match, boxes)
            for layer, match in zip(layers, matches, strict=True)
        ]
        named = _draw_named(matches[-1], targets, self.config.named_objects, generator)
        looked_at = self._naming_boxes(named, generator)
        prompts = detector.prompt(output, named.images, named.queries, looked_at)  # (N, D_t)
        parts = {
            **{name: costs[-1][name] for name in costs[-1]},
            **{f"{name}_aux": _total([c[name] for c in costs[:-1]]) for name in costs[-1]},
            "naming": detector.namer.loss(prompts, named.names),
            "distillation": _distil(prompts, named.names, text_vectors),
        }
        total = _total([self._weight(name) * part for name, part in parts.items()])
        report = {name: part.detach() for name, part in parts.items()}
        report["matched"] = torch.tensor(float(len(matches[-1])))
        return LossReport(total, report)

    def _layer_losses(
        self, layer: LayerOutput, valid: Tensor, match: Matches, boxes: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """Sums over the layer's queries, divided by its number of pairs."""
        predicted = layer.boxes_cxcywh[match.images, match.queries]  # (P, 4)
        wanted = _gather_boxes(match, boxes)  # (P, 4)
        l1, giou, iou = box_losses(predicted, wanted)
        quality = torch.zeros_like(layer.logits)
        positive = iou.clamp(min=1e-3) if self.config.object_loss == "quality" else iou * 0 + 1
        quality[match.images, match.queries] = positive.to(quality.dtype)
        loss = quality_loss if self.config.object_loss == "quality" else focal_loss
        pairs = max(1, len(match))
        return {
            "object": loss(layer.logits[valid], quality[valid]) / pairs,
            "l1": l1 / pairs,
            "giou": giou / pairs,
        }

    def _naming_boxes(self, named: _Named, generator: torch.Generator) -> Tensor | None:
        if self.config.naming_boxes == "predicted":
            return None
        boxes = named.boxes_cxcywh
        shake = SHAKE * torch.randn(boxes.shape, generator=generator).to(boxes)
        return boxes + shake * boxes[:, [2, 3, 2, 3]]

    def _weight(self, part: str) -> float:
        weights = {
            "object": self.config.object_weight,
            "l1": self.config.l1_weight,
            "giou": self.config.giou_weight,
            "naming": self.config.naming_weight,
            "distillation": self.config.distillation_weight,
        }
        return weights[part.removesuffix("_aux")]


def _draw_named(
    match: Matches, targets: Sequence[Target], most: int, generator: torch.Generator
) -> _Named:
    """Of each image at most `most` matched objects, each with one of its names."""
    drawn = torch.randperm(len(match), generator=generator).tolist()
    left = [most] * len(targets)
    places: list[int] = []
    names: list[str] = []
    pairs = list(zip(match.images.tolist(), match.targets.tolist(), strict=True))
    for place in drawn:
        image, target = pairs[place]
        choices = targets[image].names[target]
        if not choices or not left[image]:
            continue
        left[image] -= 1
        places.append(place)
        names.append(choices[_draw(len(choices), generator)])
    index = torch.tensor(places, dtype=torch.int64, device=match.images.device)
    boxes = _gather_boxes(match, [target.boxes_cxcywh.float() for target in targets])
    return _Named(match.images[index], match.queries[index], boxes[index], names)


def _draw(choices: int, generator: torch.Generator) -> int:
    if choices == 1:
        return 0
    return int(torch.randint(choices, (), generator=generator))


def _distil(
    prompts: Tensor, names: Sequence[str], text_vectors: Mapping[str, Tensor] | None
) -> Tensor:
    """Mean over the objects whose name has a text vector."""
    known = [i for i, name in enumerate(names) if text_vectors and name in text_vectors]
    if not known or text_vectors is None:
        return prompts.sum() * 0.0
    teachers = torch.stack([text_vectors[names[i]] for i in known]).to(prompts.device)
    return distillation_loss(prompts[known], teachers) / len(known)


def _gather_boxes(match: Matches, boxes: Sequence[Tensor]) -> Tensor:
    starts = torch.tensor([0, *(len(b) for b in boxes)], device=match.images.device).cumsum(0)
    return torch.cat(list(boxes))[starts[match.images] + match.targets]


def _total(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).sum()
