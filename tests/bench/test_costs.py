"""The benches that need minutes at their own sizes, at sizes of a second: that they measure."""

from pathlib import Path

import torch
from torch import nn

from opendet.bench.forward import detect, times
from opendet.bench.naming import random_namer
from opendet.bench.parts import watch
from opendet.bench.training_cost import NAMES, costs
from tests.model.worlds import TINY_DETECTOR, build_detector

TINY_T5 = {
    "vocab_size": 200,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 1,
    "num_decoder_layers": 1,
    "num_heads": 2,
}


def test_parts_keep_what_they_keep() -> None:
    detector = build_detector().train()
    with watch(detector, lambda: None) as told:
        output = detector(torch.rand(1, 3, 64, 64), torch.tensor([[64, 64]]))
    assert set(told.seconds) == {"backbone", "neck", "encoder", "selection", "decoder"}
    assert all(seconds > 0 for seconds in told.seconds.values())
    assert told.kept_bytes["backbone"] > 0
    output.logits.sum().backward()
    before = dict(told.kept_bytes)
    detector(torch.rand(1, 3, 64, 64), torch.tensor([[64, 64]]))
    assert told.kept_bytes == before, "the hooks are gone"


def test_a_step_has_all_parts_and_a_lora_head_trains_less() -> None:
    told = {
        head: costs(
            TINY_DETECTOR,
            TINY_T5,
            head=head,
            precision="fp32",
            size_hw=(64, 64),
            device="cpu",
            rounds=1,
        )
        for head in ("lora", "full")
    }
    assert set(told["lora"]["seconds"]) == {
        "backbone", "neck", "encoder", "selection", "decoder", "prompts", "namer"
    }  # fmt: skip
    assert told["lora"]["forward"] < told["lora"]["step"]
    head = TINY_T5["vocab_size"] * TINY_T5["d_model"]
    adapter = 16 * (TINY_T5["vocab_size"] + TINY_T5["d_model"])
    assert told["full"]["trained"] - told["lora"]["trained"] == head - adapter


def test_words_of_the_bench_are_known() -> None:
    labels = random_namer({**TINY_T5, "vocab_size": 200}).encode(NAMES)
    assert labels.min() > 1


def test_boxes_and_names_against_the_library_s(tmp_path: Path) -> None:
    config = TINY_DETECTOR.model_copy(update={"selection": "topk", "queries": 20})
    told = times(config, TINY_T5, size_hw=(64, 64), rounds=1)
    assert told["share"] > 0
    assert set(told["parts"]) == {
        "backbone", "neck", "encoder", "selection", "decoder", "prompts"
    }  # fmt: skip


def test_every_object_of_every_image_has_its_names() -> None:
    detector = build_detector().eval()
    names = detect(detector, torch.rand(2, 3, 64, 64), beams=2)
    assert isinstance(detector.namer, nn.Module)
    assert all(len(beams) == 2 for beams in names)
    assert len(names) % 2 == 0
    assert names
