"""DeCo-DETR's heads of the small world: what sets each apart, and how they learn beside a detector.

Isolated heads give nothing back, so that several of them learn beside one detector, on the same
queries: they are paired exactly. A head that shares its gradient needs a run of its own.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from opendet.bench.deco_world import (
    POOL,
    SceneCrops,
    class_vectors,
    flat,
    pool_crops,
    prototypes_of,
)
from opendet.bench.synthetic import SceneSet
from opendet.curate.prototypes import build_pool
from opendet.model.config import PrototypeHeadConfig
from opendet.model.detector import OpenDetector
from opendet.model.prototype_head import PrototypeHead
from opendet.model.prototype_set import PrototypeSet
from opendet.train.deco_config import DecoConfig
from opendet.train.deco_objective import CropVectors, DecoObjective
from opendet.train.distributed import Ranks
from opendet.train.normalise import Cost
from opendet.train.seen import Seen


@dataclass(frozen=True, slots=True)
class Head:
    """What sets a head apart."""

    pool: Literal["both", "coarse", "flat"] = "both"
    """Both levels; the coarse one alone; or as many prototypes as both have, all coarse."""
    schedule: Literal["cosine", "constant"] = "cosine"
    gradient: Literal["isolated", "shared"] = "isolated"
    residual: bool = True
    """Whether the enriched query has the MLP's part, or is a mixture of prototypes alone."""
    temperature: float = 0.07
    """alpha of the head and tau of its teacher."""


HEADS: dict[str, Head] = {
    "whole": Head(),
    "coarse": Head(pool="coarse"),
    "flat": Head(pool="flat"),
    "constant": Head(schedule="constant"),
    "bare": Head(residual=False),
    "bare, coarse": Head(pool="coarse", residual=False),
    "sharp": Head(temperature=0.03),
    "shared": Head(schedule="constant", gradient="shared"),
    "shared, cosine": Head(gradient="shared"),
}
"""`whole` is the paper's; every other one differs from it, or from its neighbour, by one thing."""


class Pupils(nn.Module):
    """A detector and the heads beside it."""

    def __init__(self, detector: OpenDetector, heads: Mapping[str, PrototypeHead]) -> None:
        super().__init__()
        self.detector = detector
        self.heads = nn.ModuleDict({name: heads[name] for name in heads})

    def known_heads(self) -> dict[str, PrototypeHead]:
        return {n: head for n, head in self.heads.items() if isinstance(head, PrototypeHead)}


class OneOfSeveral:
    """A head's objective, whose parts have its name before theirs."""

    def __init__(self, name: str, objective: DecoObjective) -> None:
        self._name, self._objective = name, objective

    def weights(self, step: int) -> Mapping[str, float]:
        own = self._objective.weights(step)
        return {f"{self._name}.{part}": weight for part, weight in own.items()}

    def costs(self, seen: Seen) -> Mapping[str, Cost]:
        return {f"{self._name}.{part}": own for part, own in self._objective.costs(seen).items()}

    def before_update(self, step: int, detector: nn.Module) -> None:
        self._objective.before_update(step, detector)

    def finish_step(self, step: int, ranks: Ranks) -> None:
        self._objective.finish_step(step, ranks)


def head_config(name: str) -> PrototypeHeadConfig:
    own = HEADS[name]
    return PrototypeHeadConfig(
        gradient=own.gradient, residual=own.residual, temperature=own.temperature
    )


def known_prototypes(
    names: Collection[str],
    scenes: SceneSet,
    crops: SceneCrops,
    unlabelled: SceneSet,
    *,
    seed: int,
) -> dict[str, PrototypeSet]:
    """By the kind of a head's pool, of those kinds that these heads ask for."""
    vectors, members = pool_crops(scenes, crops, unlabelled, seed=seed)
    pool = build_pool(vectors, members, POOL)
    whole = prototypes_of(pool)
    made = {"both": whole, "coarse": whole.of_levels("coarse")}
    if any(HEADS[name].pool == "flat" for name in names):
        alone = build_pool(vectors, members, flat(POOL, pool))
        made["flat"] = prototypes_of(alone).of_levels("coarse")
    return made


def new_head(name: str, width: int, known: PrototypeSet, *, seed: int) -> PrototypeHead:
    """All of a seed begin with the same weights."""
    torch.manual_seed(seed)
    return PrototypeHead(head_config(name), width, known)


def lesson_of(
    name: str, head: PrototypeHead, known: PrototypeSet, crops: CropVectors, steps: int
) -> OneOfSeveral:
    own = HEADS[name]
    config = DecoConfig(align_schedule=own.schedule, teacher_temperature=own.temperature)
    objective = DecoObjective(head, known.vectors, crops, class_vectors(), config, steps=steps)
    return OneOfSeveral(name, objective)
