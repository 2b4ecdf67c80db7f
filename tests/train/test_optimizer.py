"""The parameter groups and the schedule."""

import pytest
import torch
from torch import nn

from opendet.train.config import TrainConfig
from opendet.train.optimizer import (
    build_optimizer,
    lr_factor,
    parameter_groups,
    set_learning_rate,
)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4))
        self.namer = nn.Embedding(5, 4)
        self.attention = nn.ModuleDict({"offsets": nn.Linear(4, 4)})
        self.level_embedding = nn.Parameter(torch.zeros(2, 4))
        self.head = nn.Linear(4, 4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)


CONFIG = TrainConfig(
    learning_rate=1.0,
    backbone_lr_scale=0.1,
    namer_lr_scale=2.0,
    sampling_lr_scale=0.5,
    weight_decay=0.05,
)


def _by_name() -> dict[str, tuple[float, float]]:
    model = Model()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group["peak_lr"], group["weight_decay"])
        for group in parameter_groups(model, CONFIG)
        for parameter in group["params"]
    }


def test_every_parameter_has_its_rate_and_its_decay() -> None:
    assert _by_name() == {
        "backbone.0.weight": (0.1, 0.05),
        "backbone.0.bias": (0.1, 0.0),
        "backbone.1.weight": (0.1, 0.0),
        "backbone.1.bias": (0.1, 0.0),
        "namer.weight": (2.0, 0.0),
        "attention.offsets.weight": (0.5, 0.05),
        "attention.offsets.bias": (0.5, 0.0),
        "level_embedding": (1.0, 0.0),
        "head.weight": (1.0, 0.05),
        "head.bias": (1.0, 0.0),
    }


def test_a_tied_embedding_is_there_once() -> None:
    model = nn.ModuleDict({"shared": nn.Embedding(5, 4), "lm_head": nn.Linear(4, 5, bias=False)})
    model["lm_head"].weight = model["shared"].weight
    groups = parameter_groups(model, CONFIG)
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(1, 0.0)]


def test_the_rate_rises_in_a_line_and_falls_by_a_step() -> None:
    config = TrainConfig(steps=100, warmup_steps=3, decay="step", decay_at=0.89, decay_to=0.1)
    assert [lr_factor(step, config) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert lr_factor(88, config) == 1.0
    assert lr_factor(89, config) == lr_factor(99, config) == 0.1


def test_the_cosine_falls_from_the_peak_to_its_end() -> None:
    config = TrainConfig(steps=100, warmup_steps=0, decay="cosine", decay_to=0.2)
    factors = [lr_factor(step, config) for step in range(101)]
    assert factors[0] == 1.0
    assert factors[50] == pytest.approx(0.6)
    assert factors[100] == pytest.approx(0.2)
    assert factors == sorted(factors, reverse=True)


def test_groups_keep_their_ratio_at_every_step() -> None:
    optimizer = build_optimizer(Model(), CONFIG)
    assert set_learning_rate(optimizer, 0, CONFIG) == pytest.approx(1 / 201)
    rates = sorted({group["lr"] * 201 for group in optimizer.param_groups})
    assert rates == pytest.approx([0.1, 0.5, 1.0, 2.0])
