"""What gathering attention by hooks takes of memory, against keeping every head of every layer.

Each pass runs in a process of its own, through a language model of random weights that is deep and
narrow, so that attention is what its memory goes into.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Literal

LAYERS, HEADS, TOKENS, WIDTH = 24, 16, 1300, 256
"""TOKENS is about what an image of 1024 x 768 pixels and a question come to."""

Way = Literal["hooks", "all heads", "none"]


def gigabytes(way: Way, layers: int = LAYERS, tokens: int = TOKENS) -> float:
    """That one pass takes beyond the model, at its peak; of `none`, which gathers nothing, what the
    pass itself takes."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as alone:
        return alone.submit(_pass, way, layers, tokens).result()


def _pass(way: Way, layers: int, tokens: int) -> float:
    import torch

    from opendet.vl_sam.attention import gathered

    torch.set_num_threads(1)
    model, inputs = _model(layers), {"input_ids": torch.arange(tokens)[None] % 64}
    before = _peak()
    if way == "hooks":
        gathered(model, inputs, "the model")
    else:
        model.set_attn_implementation("eager")
        with torch.inference_mode():
            model(**inputs, use_cache=False, output_attentions=way == "all heads", logits_to_keep=1)
    return _peak() - before


def _model(layers: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    make: Any = LlamaForCausalLM
    return make(
        LlamaConfig(
            vocab_size=64,
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            num_hidden_layers=layers,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            max_position_embeddings=4096,
        )
    ).eval()


def _peak() -> float:
    """Of this process since it began. What `resource` tells may be its parent's."""
    status = Path("/proc/self/status").read_text()
    [kib] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(kib) * 1024 / 1e9
