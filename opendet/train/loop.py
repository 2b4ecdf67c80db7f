"""The training loop. Precision, averages, checkpoints and the series are objects that it calls."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from opendet.data.batch import Batch
from opendet.progress import progress
from opendet.train import checkpoint
from opendet.train.config import TrainConfig
from opendet.train.metrics_log import Series
from opendet.train.optimizer import set_learning_rate
from opendet.train.randomness import seed_step
from opendet.train.state import BatchSource, TrainingState

log = logging.getLogger(__name__)


class Losses(Protocol):
    """What the loop asks of an objective's report."""

    @property
    def total(self) -> Tensor: ...

    @property
    def parts(self) -> dict[str, Tensor]: ...


class BatchLoss(Protocol):
    """The forward pass, the matching and the losses of one batch."""

    def __call__(self, detector: Any, batch: Batch, generator: torch.Generator) -> Losses: ...


def train_steps(
    state: TrainingState,
    batch_loss: BatchLoss,
    config: TrainConfig,
    *,
    device: torch.device,
    series: Series,
    checkpoints: Path,
) -> None:
    """Train from where `state` stands to the last step; a checkpoint is there at the end.

    Raises ValueError for a loss or a gradient that is not finite; the last checkpoint stays.
    """
    state.detector.train()
    batches = _without_end(state.loader)
    clock = time.monotonic()
    with progress("train", config.steps) as advance:
        while state.step < config.steps:
            lr = set_learning_rate(state.optimizer, state.step, config)
            generator = seed_step(config.seed, state.step)
            batch = next(batches).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=config.amp == "bf16"):
                losses = batch_loss(state.detector, batch, generator)
            losses.total.backward()  # type: ignore[no-untyped-call]
            norm = clip_grad_norm_(state.detector.parameters(), config.clip_norm)
            _require_finite(losses, norm, batch, state.step)
            state.optimizer.step()
            state.optimizer.zero_grad(set_to_none=True)
            state.ema.update(state.detector, state.step)
            state.step += 1
            series.add(
                state.step, {"loss": losses.total, **losses.parts, "grad_norm": norm, "lr": lr}
            )
            if state.step % config.checkpoint_every == 0 or state.step == config.steps:
                state.seconds, clock = _lap(state.seconds, clock)
                series.save()  # first: it may know more than the checkpoint, never less
                checkpoint.save(checkpoints, state.checkpoint(), keep=config.keep)
            if state.step % config.log_every == 0:
                series.close_row()
            advance(state.step, series.note())


def _without_end(loader: BatchSource) -> Iterator[Batch]:
    while True:
        yield from loader


def _require_finite(losses: Losses, norm: Tensor, batch: Batch, step: int) -> None:
    numbers = {**losses.parts, "loss": losses.total, "gradient": norm}
    if norm.isfinite() and losses.total.isfinite():
        return
    bad = next(name for name, value in numbers.items() if not value.isfinite())
    raise ValueError(
        f"step {step}: {bad} is {numbers[bad].item()} on the images {', '.join(batch.keys)}: look "
        "at them, or lower train.learning_rate; the last checkpoint before it is kept"
    )


def _lap(seconds: float, clock: float) -> tuple[float, float]:
    now = time.monotonic()
    return seconds + now - clock, now
