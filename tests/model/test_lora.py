import torch
from torch import nn

from opendet.model.lora import LoraLinear


def _adapted(rank: int = 2, bias: bool = True) -> LoraLinear:
    torch.manual_seed(4)
    layer = LoraLinear.of(nn.Linear(6, 5, bias=bias), rank=rank, alpha=3.0)
    nn.init.normal_(layer.lora_b)
    return layer


def test_a_new_adapter_changes_nothing() -> None:
    linear, inputs = nn.Linear(6, 5), torch.randn(2, 3, 6)
    layer = LoraLinear.of(linear, rank=2, alpha=3.0)
    assert torch.equal(layer(inputs), linear(inputs))
    assert {n for n, p in layer.named_parameters() if p.requires_grad} == {"lora_a", "lora_b"}


def test_correction_by_hand() -> None:
    layer = LoraLinear(torch.zeros(1, 2), rank=1, alpha=4.0)
    with torch.no_grad():
        layer.lora_a.copy_(torch.tensor([[1.0, 2.0]]))
        layer.lora_b.copy_(torch.tensor([[3.0]]))
    # 4 / 1 x 3 x (1 x 5 + 2 x 7) = 228
    assert layer(torch.tensor([[5.0, 7.0]])).item() == 228


def test_merging_in_place_and_as_a_copy_says_the_same() -> None:
    for bias in (True, False):
        layer, inputs = _adapted(bias=bias), torch.randn(4, 6)
        before = layer(inputs)
        linear = layer.merged()
        assert type(linear) is nn.Linear
        torch.testing.assert_close(linear(inputs), before, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(layer(inputs), before)  # the copy left it alone
        layer.merge()
        assert {name for name, _ in layer.named_parameters()} <= {"base", "bias"}
        torch.testing.assert_close(layer(inputs), before, atol=1e-6, rtol=1e-6)


def test_unfreezing_twice_is_unfreezing_once() -> None:
    layer, inputs = _adapted(), torch.randn(4, 6)
    before = layer(inputs)
    layer.unfreeze()
    state = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    layer.unfreeze()
    assert all(torch.equal(tensor, state[name]) for name, tensor in layer.state_dict().items())
    torch.testing.assert_close(layer(inputs), before)
    assert {n for n, p in layer.named_parameters() if p.requires_grad} == {"base", "bias"}


def test_average_over_the_unfreezing_is_an_average_of_the_matrices() -> None:
    layer = _adapted()
    old = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    matrix = layer.matrix().detach()
    layer.unfreeze()
    mean = {name: (tensor + old[name]) / 2 for name, tensor in layer.state_dict().items()}
    layer.load_state_dict(mean)
    torch.testing.assert_close(layer.matrix(), matrix)


def test_seed_decides_and_the_callers_random_state_stays() -> None:
    weight = torch.zeros(3, 4)
    before = torch.get_rng_state()
    first, second = (LoraLinear(weight, rank=2, seed=seed) for seed in (1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first.lora_a, second.lora_a)
    assert torch.equal(first.lora_a, LoraLinear(weight, rank=2, seed=1).lora_a)
