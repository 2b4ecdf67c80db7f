"""DeCo-DETR's head: what queries show, as a mixture of prototypes (spec/deco_detr.md B.3).

N queries, M prototypes, C classes, D the detector's width, D_c the prototypes' width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from opendet.model.config import PrototypeHeadConfig
from opendet.model.naming import Objects
from opendet.model.prototype_set import PrototypeSet
from opendet.model.semantic_predictor import SemanticPredictor


@dataclass(frozen=True, slots=True)
class Semantics:
    """What the head makes of N queries."""

    weights: Tensor
    """(N, M) w = softmax(cos(q^, A) / alpha), each row adds up to 1; fp32."""
    log_weights: Tensor
    """(N, M) their logarithms."""
    enriched: Tensor
    """(N, D_c) r = w A + MLP(q^)."""


class PrototypeHead(nn.Module):
    """Projects queries to the prototypes' space, and reads them there.

    The prototypes are a buffer: training may move them by their momentum, never by a gradient.
    """

    NOT_AVERAGED = ("prototypes",)

    def __init__(self, config: PrototypeHeadConfig, width: int, known: PrototypeSet) -> None:
        """Raises ValueError where the attention heads do not divide the prototypes' width."""
        super().__init__()
        self.config = config
        self.clipped_apart = config.gradient == "isolated"
        """Its gradients must not shorten the detector's steps either."""
        known = known.of_levels(config.levels)
        self.known = PrototypeSet(known.names, known.levels, torch.zeros(0, known.width))
        hidden = config.hidden or known.width
        self.project = _perceptron(width, hidden, known.width)
        self.residual = _perceptron(known.width, hidden, known.width) if config.residual else None
        self.predictor = SemanticPredictor(
            known.width, layers=config.predictor_layers, heads=config.predictor_heads
        )
        self.prototypes: Tensor
        self.register_buffer("prototypes", known.vectors.clone())

    def read(self, objects: Objects) -> Tensor:
        """(N, D), or (N, D_t) where it reads prompts: what the head is asked about."""
        return objects.prompts if self.config.reads == "prompt" else objects.vectors

    @property
    def names(self) -> tuple[str, ...]:
        """M, of the prototypes."""
        return self.known.names

    def forward(self, queries: Tensor) -> Semantics:
        """queries (N, D), or what `read` gives; isolated, no gradient goes back to them."""
        if self.config.gradient == "isolated":
            queries = queries.detach()
        with torch.autocast(queries.device.type, enabled=False):
            projected = functional.normalize(self.project(queries.float()), dim=-1)  # (N, D_c)
            # the printed update leaves rows of another length than 1
            cosines = projected @ functional.normalize(self.prototypes, dim=-1).T
            log_weights = functional.log_softmax(cosines / self.config.temperature, dim=-1)
            weights = log_weights.exp()
            enriched = weights @ self.prototypes
            if self.residual is not None:
                enriched = enriched + self.residual(projected)
        return Semantics(weights, log_weights, enriched)

    def class_logits(self, semantics: Semantics, classes: Tensor) -> Tensor:
        """(N, C) of given classes (C, D_c), unit text vectors of the space of the pool's CLIP."""
        logits: Tensor = self.predictor(semantics.enriched, classes)
        return logits


def _perceptron(width: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, out))
