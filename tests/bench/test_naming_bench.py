"""The naming bench measures equal work: the same names, by ours and by the library."""

import torch

from opendet.bench.naming import generate, random_namer, times

SMALL = {
    "vocab_size": 2048,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 1,
    "num_decoder_layers": 1,
    "num_heads": 4,
}


def test_it_measures_the_same_names() -> None:
    told = times(SMALL, beams=3, device="cpu", objects=(10, 2, 5), rounds=1)
    assert told["equal"] == 1
    assert told["speed_up"] > 1
    assert all(value > 0 for value in told.values())


def test_its_names_are_long_and_differ() -> None:
    namer = random_namer(SMALL)
    prompts = torch.randn(6, 32, generator=torch.Generator().manual_seed(2))
    names = [beams[0] for beams in generate(namer, prompts, 2)]
    assert len(set(names)) == 6
    assert sum(len(name.split()) for name in names) > 6 * 9
