"""The namer's first lesson."""

import torch
from torch.nn.functional import normalize

from opendet.train.config import WarmupConfig
from opendet.train.text_vectors import TextVectors
from opendet.train.warmup import warm_namer
from opendet.train.weights import own_tensors
from tests.model.worlds import NAMES, build_namer


def _vectors() -> TextVectors:
    rows = torch.randn(len(NAMES), 32, generator=torch.Generator().manual_seed(0))
    return TextVectors(NAMES, normalize(rows, dim=-1))


def test_it_learns_its_names() -> None:
    namer = build_namer()
    config = WarmupConfig(steps=80, batch_size=8, learning_rate=1e-2, noise=0.5)
    report = warm_namer(namer, _vectors(), config, seed=0)
    assert report is not None
    assert report.exact == 1.0
    assert report.loss < 0.5
    # the detector's first step must not add the lesson's last gradient, a resumed one could not
    assert all(parameter.grad is None for parameter in namer.parameters())


def test_the_same_seed_gives_the_same_namer_and_another_does_not() -> None:
    config = WarmupConfig(steps=3, batch_size=4)
    namers = []
    for seed in (0, 0, 1):
        namer = build_namer()
        torch.rand(seed + 1)  # what was drawn before must not matter
        warm_namer(namer, _vectors(), config, seed=seed)
        namers.append(own_tensors(namer))
    first, again, other = namers
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_lesson_is_the_pretraining_of_a_t5_that_had_none() -> None:
    namer = build_namer()
    assert namer.config.head == "lora"
    before = namer.head.base.clone()
    warm_namer(namer, _vectors(), WarmupConfig(steps=3, batch_size=4), seed=0)
    assert not torch.equal(namer.head.base, before)
    assert not namer.head.base.requires_grad, "from here on LoRA alone is trained"


def test_nothing_to_teach() -> None:
    namer = build_namer()
    before = {name: tensor.clone() for name, tensor in own_tensors(namer).items()}
    assert warm_namer(namer, None, WarmupConfig(), seed=0) is None
    assert warm_namer(namer, _vectors(), WarmupConfig(steps=0), seed=0) is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in own_tensors(namer).items())
