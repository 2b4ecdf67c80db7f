"""AdamW in parameter groups, and a learning rate that is a pure function of the step.

A schedule without a state has nothing to save and nothing to get wrong at a resume.
"""

import math
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer

from opendet.train.config import TrainConfig

HEAD = "namer.t5.lm_head"
"""The module that turns the namer's hidden states into tokens."""


def build_optimizer(model: nn.Module, config: TrainConfig, *, head_lr_scale: float = 1.0) -> AdamW:
    """AdamW over what is trainable; `set_learning_rate` must be called before each step."""
    return AdamW(parameter_groups(model, config, head_lr_scale), lr=config.learning_rate)


def parameter_groups(
    model: nn.Module, config: TrainConfig, head_lr_scale: float = 1.0
) -> list[dict[str, Any]]:
    """One group for each pair of learning rate and weight decay, in the model's order.

    `head_lr_scale` is the share of the namer's learning rate that its head has.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    undecayed = set(_undecayed(model))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = 0.0 if id(parameter) in undecayed else config.weight_decay
            scale = _lr_scale(name, config)
            scale *= head_lr_scale if name.startswith(f"{HEAD}.") else 1.0
            groups.setdefault((scale, decay), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "peak_lr": scale * config.learning_rate}
        for (scale, decay), parameters in groups.items()
    ]


def lr_factor(step: int, config: TrainConfig) -> float:
    """Share of the peak learning rate at a step counted from 0, in [0, 1]."""
    rise = min(1.0, (step + 1) / (config.warmup_steps + 1))
    match config.decay:
        case "none":
            return rise
        case "step":
            return rise * (config.decay_to if step >= config.decay_at * config.steps else 1.0)
        case "cosine":
            share = step / config.steps
            wave = (1 + math.cos(math.pi * share)) / 2
            return rise * (config.decay_to + (1 - config.decay_to) * wave)


def set_learning_rate(optimizer: Optimizer, step: int, config: TrainConfig) -> float:
    """Set every group's learning rate for a step. Returns that of an unscaled group."""
    factor = lr_factor(step, config)
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
    return factor * config.learning_rate


def _lr_scale(name: str, config: TrainConfig) -> float:
    if ".offsets." in name:
        return config.sampling_lr_scale
    if name.startswith("backbone."):
        return config.backbone_lr_scale
    if name.startswith("namer."):
        return config.namer_lr_scale
    return 1.0


def _undecayed(model: nn.Module) -> Iterator[int]:
    """The ids of norms, biases, lone scalars and vectors, embeddings and learned tokens."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            flat = parameter.ndim < 2
            if (
                flat
                or any(word in name for word in ("bias", "embed", "token"))
                or isinstance(module, nn.Embedding)
            ):
                yield id(parameter)
