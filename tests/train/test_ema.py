"""The average of the weights."""

import torch
from torch import nn

from opendet.train.ema import Ema


def _linear(value: float) -> nn.Linear:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def test_by_hand() -> None:
    model = _linear(0.0)
    ema = Ema(model, 0.5)
    nn.init.constant_(model.weight, 1.0)
    ema.update(model, 0)  # decay (1 + 0) / (10 + 0) = 0.1
    assert torch.allclose(ema.tensors["weight"], torch.tensor([[0.9]]))
    ema.update(model, 1000)  # decay 0.5
    assert torch.allclose(ema.tensors["weight"], torch.tensor([[0.95]]))


def test_without_decay_it_is_the_model() -> None:
    model = _linear(0.0)
    ema = Ema(model, 0.0)
    nn.init.constant_(model.weight, 3.0)
    ema.update(model, 5)
    assert torch.equal(ema.tensors["weight"], model.weight)


def test_it_is_apart_from_the_model_and_counts_are_copied() -> None:
    model = nn.BatchNorm1d(2)
    ema = Ema(model, 0.9)
    model(torch.rand(4, 2))
    assert ema.tensors["num_batches_tracked"] == 0
    ema.update(model, 0)
    assert ema.tensors["num_batches_tracked"] == 1
