"""The bench of naming by prototypes, at sizes of a second: that it measures what it says."""

import pytest

from opendet.bench.prototype_naming import random_head, times

TINY_T5 = {
    "vocab_size": 200,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 1,
    "num_decoder_layers": 1,
    "num_heads": 2,
}
TINY_POOL = {"coarse": 6, "fine": 24, "width": 16, "names": 6}


def test_half_of_the_crowd_is_left_to_the_t5() -> None:
    told = times(TINY_T5, TINY_POOL, device="cpu", crowd=10, rounds=1)
    assert told["left_over"] == pytest.approx(0.5)
    assert min(told["prototypes"], told["t5"], told["cascade"]) > 0
    assert told["speed_up"] == pytest.approx(told["t5"] / told["prototypes"])
    pool = 30 * 16 * 4 / 1e6
    assert told["head_mb"] > pool


def test_the_pool_has_its_sizes() -> None:
    head = random_head(TINY_POOL)
    assert head.prototypes.shape == (30, 16)
    assert len(head.names) == 30
    assert len(set(head.names)) == 6
