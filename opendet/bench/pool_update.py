"""What the momentum update makes of a pool: the printed formula and the sparse one, side by side.

A CLIP-like space: all vectors share a direction, as CLIP's do, so that two prototypes have a cosine
of .53 on average (../shared/spec/evidence.md, G.3). A name has three prototypes, and lies near the
four others of its kind; training shows crops of two thirds of the names alone, as often as Zipf
says.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import fmean

import torch
from torch import Tensor
from torch.nn import functional

from opendet.bench.harness import Place, Row, at_least, at_most, code_of
from opendet.train.deco_config import DecoConfig
from opendet.train.pool_momentum import moved_prototypes

# N crops, M prototypes, D width

WIDTH = 256
NAMES, OF_A_KIND, OF_A_NAME = 500, 5, 3
SHARED, KIND, NAME = 0.53, 0.75, 0.9
"""Cosines of two prototypes: of any, of one kind, of one name."""
CROP_NOISE = 2.5
"""Length of the noise of a crop, whose prototype is a unit vector."""
BASE_SHARE = 2 / 3
"""Of the names, those that training shows."""
STEPS, CROPS = 600, 512
"""64 images of a step, eight objects of each."""
TESTED = 6000
SEEDS = range(3)
MOST_COSINE = 0.75
MOST_LOST = 0.02
"""Of the nearest-name accuracy: by so much it may differ and be called unchanged."""

UPDATES: dict[str, DecoConfig] = {
    "sparse": DecoConfig(),
    "paper": DecoConfig(update="paper"),
    "paper, tau .01": DecoConfig(update="paper", update_temperature=0.01),
}


@dataclass(frozen=True, slots=True)
class Space:
    """Prototypes and crops of a seed."""

    prototypes: Tensor
    """(M, D) unit rows; row j has the name j // 3."""
    generator: torch.Generator

    def crops(self, names: Tensor) -> Tensor:
        """(N, D) unit rows of crops that show names (N,), each near one of its prototypes."""
        which = torch.randint(OF_A_NAME, names.shape, generator=self.generator)
        near = self.prototypes[names * OF_A_NAME + which]
        noise = torch.randn(near.shape, generator=self.generator) / WIDTH**0.5
        return functional.normalize(near + CROP_NOISE * noise, dim=1)


def measure(place: Place) -> Iterator[Row]:
    """The pool after 600 steps; each number the mean over three seeds."""
    for name, config in UPDATES.items():
        settings = {"update": config.model_dump(mode="json"), "seeds": len(SEEDS)}
        work = partial(_of_all_seeds, config)
        told = place.unit(settings, code_of(__name__), work, what=f"update {name}")
        if told is not None:
            yield from _rows(name, told)


def _rows(name: str, seeds: list[Mapping[str, float]]) -> Iterator[Row]:
    mean = {score: fmean(one[score] for one in seeds) for score in seeds[0]}
    told = f"from {mean['cosine_before']:.3f}; row length {mean['length']:.4g}, {len(seeds)} seeds"
    metric = f"{name}: mean pairwise cosine after {STEPS} steps"
    if name == "sparse":
        yield at_most(metric, mean["cosine"], MOST_COSINE, told)
    else:
        yield Row(metric, mean["cosine"], detail=told)
    for group in ("base", "novel"):
        before, after = mean[f"{group}_before"], mean[group]
        metric = f"{name}: nearest-name accuracy, {group} names, change"
        told = f"{before:.4f} before, {after:.4f} after"
        if name == "sparse":
            yield at_least(metric, after - before, -MOST_LOST, told)
        else:
            yield Row(metric, after - before, detail=told)
    yield Row(f"{name}: cosine of a prototype with itself before", mean["drift"])


def _of_all_seeds(config: DecoConfig) -> list[dict[str, float]]:
    return [pool_after(seed, config) for seed in SEEDS]


def pool_after(seed: int, config: DecoConfig, *, steps: int = STEPS) -> dict[str, float]:
    """Cosines, row length and accuracies before and after."""
    space = draw_space(seed)
    base = int(BASE_SHARE * NAMES)
    frequency = 1 / torch.arange(1, base + 1)
    tested = torch.arange(TESTED) % NAMES
    shown = space.crops(tested)
    pool = space.prototypes
    for _ in range(steps):
        names = torch.multinomial(frequency, CROPS, replacement=True, generator=space.generator)
        pool = moved_prototypes(pool, space.crops(names), config)
    told = {"cosine_before": pairwise_cosine(space.prototypes), "cosine": pairwise_cosine(pool)}
    for group, rows in {"base": tested < base, "novel": tested >= base}.items():
        told[f"{group}_before"] = accuracy(space.prototypes, shown[rows], tested[rows])
        told[group] = accuracy(pool, shown[rows], tested[rows])
    drift = functional.cosine_similarity(space.prototypes, pool).mean()
    return told | {"drift": float(drift), "length": float(pool.norm(dim=1).mean())}


def draw_space(seed: int) -> Space:
    """A prototype is a sum of directions: everybody's, its kind's, its name's and its own."""
    generator = torch.Generator().manual_seed(seed)
    whole = NAMES * OF_A_NAME
    shares = {1: SHARED, NAMES // OF_A_KIND: KIND - SHARED, NAMES: NAME - KIND, whole: 1 - NAME}
    rows = torch.zeros(whole, WIDTH)
    for count, share in shares.items():
        directions = torch.randn(count, WIDTH, generator=generator)
        own = functional.normalize(directions, dim=1).repeat_interleave(whole // count, 0)
        rows += share**0.5 * own
    return Space(functional.normalize(rows, dim=1), generator)


def pairwise_cosine(rows: Tensor) -> float:
    """Mean over all pairs of (M, D) rows."""
    units = functional.normalize(rows.double(), dim=1)
    count = len(units)
    return float((units.sum(0).square().sum() - count) / (count * (count - 1)))


def accuracy(prototypes: Tensor, crops: Tensor, names: Tensor) -> float:
    """Share of crops (N, D) whose nearest prototype has their name."""
    nearest = (crops @ functional.normalize(prototypes, dim=1).T).argmax(1) // OF_A_NAME
    return float((nearest == names).double().mean())
