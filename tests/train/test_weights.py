"""A module's tensors by name, and back."""

import pytest
import torch
from torch import nn

from opendet.train.weights import load_tensors, own_tensors


def _tied() -> nn.ModuleDict:
    model = nn.ModuleDict({"shared": nn.Embedding(5, 4), "lm_head": nn.Linear(4, 5, bias=False)})
    model["lm_head"].weight = model["shared"].weight
    return model


def test_tied_weights_have_one_name_and_stay_tied() -> None:
    first, second = _tied(), _tied()
    assert list(own_tensors(first)) == ["shared.weight"]
    load_tensors(second, own_tensors(first), what="it")
    assert torch.equal(second["lm_head"].weight, first["shared"].weight)
    assert second["lm_head"].weight is second["shared"].weight


def test_buffers_travel_too() -> None:
    first, second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    first(torch.rand(2, 3, 4, 4))
    load_tensors(second, own_tensors(first), what="it")
    assert second.num_batches_tracked == 1
    assert torch.equal(second.running_mean, first.running_mean)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (nn.Linear(4, 5), "unknown bias"),
        (nn.Module(), "lacks shared.weight"),
        (nn.ModuleDict({"shared": nn.Embedding(6, 4)}), "shape"),
    ],
)
def test_another_model_is_refused_before_anything_is_written(other: nn.Module, says: str) -> None:
    model = _tied()
    before = model["shared"].weight.clone()
    with pytest.raises(ValueError, match=says):
        load_tensors(model, {**own_tensors(other)}, what="it")
    assert torch.equal(model["shared"].weight, before)
