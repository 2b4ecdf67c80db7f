"""Clipping: one norm of all, but for modules that are clipped apart."""

import torch
from torch import nn

from opendet.train.clipping import clip_gradients


def _model(grads: dict[str, float], *, apart: bool) -> nn.ModuleDict:
    model = nn.ModuleDict({name: nn.Linear(1, 1, bias=False) for name in grads})
    for name, value in grads.items():
        model[name].weight.grad = torch.tensor([[value]])
    model["head"].clipped_apart = apart
    return model


def _grads(model: nn.ModuleDict) -> list[float]:
    return [round(float(one.weight.grad), 4) for one in model.values()]


def test_together_by_hand() -> None:
    model = _model({"backbone": 3.0, "head": 4.0}, apart=False)
    assert float(clip_gradients(model, 1.0)) == 5
    assert _grads(model) == [0.6, 0.8]


def test_apart_each_is_held_to_its_own_norm() -> None:
    model = _model({"backbone": 0.5, "head": 4.0}, apart=True)
    assert float(clip_gradients(model, 1.0)) == torch.tensor([0.5, 4.0]).norm()
    assert _grads(model) == [0.5, 1.0]


def test_the_norm_is_not_finite_where_one_gradient_is_not() -> None:
    for broken in ("backbone", "head"):
        grads = {"backbone": 1.0, "head": 1.0} | {broken: float("nan")}
        assert not clip_gradients(_model(grads, apart=True), 1.0).isfinite()


def test_a_module_that_is_not_trained_is_no_error() -> None:
    model = _model({"backbone": 3.0, "head": 4.0}, apart=True)
    model["head"].weight.grad = None
    assert float(clip_gradients(model, 10.0)) == 3


def test_the_norms_meet_on_the_models_device() -> None:
    """Of a module without a gradient torch says a zero of the CPU; `meta` stands in for a GPU."""
    model = _model({"backbone": 3.0, "head": 4.0}, apart=True).to("meta")
    model["backbone"].weight.grad = torch.ones(1, 1, device="meta")
    model["head"].weight.grad = None
    assert clip_gradients(model, 1.0).device.type == "meta"
