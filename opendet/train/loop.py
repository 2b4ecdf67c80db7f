"""The training loop. Precision, averages, checkpoints and the series are objects that it calls."""

import logging
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from opendet.data.batch import Batch
from opendet.progress import progress
from opendet.train import checkpoint
from opendet.train.clipping import clip_gradients
from opendet.train.config import TrainConfig
from opendet.train.distributed import Ranks, without_sync
from opendet.train.metrics_log import Series
from opendet.train.optimizer import set_learning_rate
from opendet.train.randomness import StepDraws, seed_step
from opendet.train.state import BatchSource, TrainingState

log = logging.getLogger(__name__)


class Losses(Protocol):
    """What a step's module returns for a batch and a `StepDraws`."""

    @property
    def total(self) -> Tensor: ...

    @property
    def parts(self) -> dict[str, Tensor]: ...


class StepHooks(Protocol):
    """What is done around a step of the optimizer, counted from 0, on every rank (`Objective`)."""

    def before_update(self, step: int, detector: nn.Module) -> None:
        """The gradients are there, and are neither checked nor clipped."""
        ...

    def finish_step(self, step: int, ranks: Ranks) -> None:
        """The weights are new; averages and a checkpoint come after."""
        ...


def train_steps(
    state: TrainingState,
    batch_loss: nn.Module,
    config: TrainConfig,
    *,
    ranks: Ranks,
    series: Series,
    checkpoints: Path,
    unfreeze_at: int | None = None,
    hooks: StepHooks | None = None,
) -> None:
    """Train from where `state` stands to the last step; a checkpoint is there at the end.

    `batch_loss` is the forward pass, the matching and the losses of one batch (`TrainingStep`).
    From step `unfreeze_at` on the namer's head is trained. `hooks` are called around each of the
    optimizer's steps. Raises ValueError for a loss or a gradient that is not finite; the last
    checkpoint stays.
    """
    state.detector.train()
    batches = _without_end(state.loader)
    parallel = ranks.parallel(batch_loss)
    clock = time.monotonic()
    with progress("train", config.steps) if ranks.leads else nullcontext(_silent) as advance:
        while state.step < config.steps:
            if state.step == unfreeze_at and not state.head_unfrozen:
                state.unfreeze_head()
                parallel = ranks.parallel(batch_loss)  # it knows what is trained from its start
            lr = set_learning_rate(state.optimizer, state.step, config)
            micros = list(_backward(parallel, batches, state.step, config, ranks))
            if hooks:
                hooks.before_update(state.step, state.detector)
            norm = clip_gradients(state.detector, config.clip_norm)
            _require_finite(micros, norm, state.step, ranks)
            state.optimizer.step()
            state.optimizer.zero_grad(set_to_none=True)
            if hooks:
                hooks.finish_step(state.step, ranks)
            state.ema.update(state.detector, state.step)
            state.step += 1
            series.add(state.step, {**_mean(micros), "grad_norm": norm, "lr": lr})
            if state.step % config.checkpoint_every == 0 or state.step == config.steps:
                state.seconds, clock = _lap(state.seconds, clock)
                series.save()  # first: it may know more than the checkpoint, never less
                if ranks.leads:
                    checkpoint.save(checkpoints, state.checkpoint(), keep=config.keep)
            if state.step % config.log_every == 0:
                series.close_row()
            advance(state.step, series.note())


@dataclass(frozen=True, slots=True)
class _Micro:
    """A micro-batch that has given its gradients."""

    keys: tuple[str, ...]
    numbers: dict[str, Tensor]
    """`loss` and its parts, detached scalars."""


def _backward(
    parallel: nn.Module,
    batches: Iterator[Batch],
    step: int,
    config: TrainConfig,
    ranks: Ranks,
) -> Iterator[_Micro]:
    """One step's gradients: the mean over `accumulate` micro-batches and over all ranks."""
    for micro in range(config.accumulate):
        last = micro == config.accumulate - 1
        # dropout differs between ranks and micro-batches; what the objective draws is the image's
        seed_step(config.seed, (step * config.accumulate + micro) * ranks.world + ranks.rank)
        batch = next(batches).to(ranks.device)
        with nullcontext() if last else without_sync(parallel):
            try:
                with torch.autocast(
                    ranks.device.type, torch.bfloat16, enabled=config.amp == "bf16"
                ):
                    losses: Losses = parallel(batch, StepDraws(config.seed, step))
            except FloatingPointError as error:
                raise ValueError(_not_finite(step, str(error), batch.keys)) from error
            total: Any = losses.total / config.accumulate
            total.backward()
        numbers = {"loss": losses.total, **losses.parts}
        yield _Micro(batch.keys, {name: value.detach() for name, value in numbers.items()})


def _silent(done: int, note: str = "") -> None:
    """Of the ranks rank 0 alone shows how far they are."""


def _without_end(loader: BatchSource) -> Iterator[Batch]:
    while True:
        yield from loader


def _mean(micros: list[_Micro]) -> dict[str, Tensor]:
    return {
        name: torch.stack([micro.numbers[name].float() for micro in micros]).mean()
        for name in micros[0].numbers
    }


def _require_finite(micros: list[_Micro], norm: Tensor, step: int, ranks: Ranks) -> None:
    """Every rank raises, or none; they all say what was wrong on the first that knows it."""
    losses = torch.stack([micro.numbers["loss"].float() for micro in micros])
    well = (losses.isfinite().all() & norm.isfinite()).float()
    if ranks.mean(well) == 1:
        return
    bad = [line for line in ranks.all_of(_bad_loss(micros, step)) if line]
    keys = [key for rank in ranks.all_of([key for m in micros for key in m.keys]) for key in rank]
    raise ValueError(bad[0] if bad else _not_finite(step, f"gradient is {norm.item()}", keys))


def _bad_loss(micros: list[_Micro], step: int) -> str:
    for micro in micros:
        parts = {name: value for name, value in micro.numbers.items() if name != "loss"}
        for name, value in {**parts, **micro.numbers}.items():
            if not value.isfinite():
                return _not_finite(step, f"{name} is {value.item()}", micro.keys)
    return ""


def _not_finite(step: int, what: str, keys: "list[str] | tuple[str, ...]") -> str:
    return (
        f"step {step}: {what} on the images {', '.join(keys)}: look at them, or lower "
        "train.learning_rate; the last checkpoint before it is kept"
    )


def _lap(seconds: float, clock: float) -> tuple[float, float]:
    now = time.monotonic()
    return seconds + now - clock, now
