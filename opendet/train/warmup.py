"""The namer's first lesson, before the detector trains: a noised text vector -> its name.

The detector's prompts are distilled towards the same vectors, so a namer that has had this lesson
names an object as soon as its prompt comes near.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from opendet.progress import progress
from opendet.train.config import WarmupConfig
from opendet.train.randomness import seed_step
from opendet.train.text_vectors import TextVectors

if TYPE_CHECKING:
    from opendet.model.t5_namer import T5Namer

# N names in a step, D_t width of a text vector

EXAMINED = 256
"""Names that the examination at the end asks for, at most."""


@dataclass(frozen=True, slots=True)
class WarmupReport:
    """How the lesson went."""

    loss: float
    """Of the last step."""
    exact: float
    """Share of the names that their clean vectors give back, in [0, 1]."""
    seconds: float


def warm_namer(
    namer: "T5Namer", text_vectors: TextVectors | None, config: WarmupConfig, *, seed: int
) -> WarmupReport | None:
    """Teach the namer the names of `text_vectors`, which are on its device.

    Returns None where there is nothing to teach. Raises ValueError for a loss that is not finite.
    """
    if not config.steps or not text_vectors:
        return None
    start = time.monotonic()
    names = list(text_vectors.names)
    vectors = text_vectors.matrix  # (all names, D_t)
    loss = _teach(namer, names, vectors, config, seed)
    return WarmupReport(loss, _examine(namer, names, vectors), time.monotonic() - start)


def _teach(
    namer: "T5Namer", names: list[str], vectors: Tensor, config: WarmupConfig, seed: int
) -> float:
    namer.train()
    frozen = _taught_apart(namer)
    trained = [parameter for parameter in namer.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, weight_decay=0.0)
    deviation = config.noise * vectors.std()
    rows = _rows(len(names), config.batch_size, seed)
    loss = vectors.new_tensor(math.nan)
    with progress("namer's warm-up", config.steps) as advance:
        for step in range(config.steps):
            fall = (1 + math.cos(math.pi * step / config.steps)) / 2
            optimizer.param_groups[0]["lr"] = config.learning_rate * fall
            generator = seed_step(seed, step)
            row = next(rows)
            noise = torch.randn(len(row), vectors.shape[1], generator=generator).to(vectors)
            loss = namer.loss(vectors[row] + deviation * noise, [names[i] for i in row])
            if not loss.isfinite():
                raise ValueError(
                    f"step {step} of the namer's warm-up: the loss is {loss.item()}: lower "
                    "train.warmup.learning_rate"
                )
            loss.backward()  # type: ignore[no-untyped-call]
            clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)  # last: the detector's first step begins clean
            advance(step + 1)
    for parameter in frozen:
        parameter.requires_grad_(False)
    return float(loss.detach())


def _taught_apart(namer: "T5Namer") -> list[nn.Parameter]:
    """A frozen head's matrix, trained in this lesson where nothing was pretrained: for a T5 made on
    the spot the lesson is the pretraining, and LoRA begins after it."""
    made_here = namer.config.t5 == "tiny"
    frozen = [p for p in (namer.head.base,) if made_here and not p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_()
    return frozen


def _rows(count: int, batch_size: int, seed: int) -> Iterator[list[int]]:
    """Rows without end: every name once, in a new order, then every name again."""
    generator = torch.Generator().manual_seed(seed)
    waiting: list[int] = []
    while True:
        while len(waiting) < batch_size:
            waiting += torch.randperm(count, generator=generator).tolist()
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


@torch.no_grad()
def _examine(namer: "T5Namer", names: list[str], vectors: Tensor) -> float:
    namer.eval()
    asked = names[:: math.ceil(len(names) / EXAMINED)]
    answers = namer.name(vectors[:: math.ceil(len(names) / EXAMINED)], beams=1)
    right = sum(answer[0] == name for answer, name in zip(answers, asked, strict=True))
    return right / len(asked)
