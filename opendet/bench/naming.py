"""How long naming takes, against the library's `generate`, and whether the names are the same.

The T5 has FLAN-T5-base's sizes and random weights. No name of such a T5 ends early: all run to the
limit, which is the worst case for ours and for theirs.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from opendet.bench.harness import Place, Row, at_least, at_most, code_of
from opendet.bench.timing import compare
from opendet.model.config import NamerConfig
from opendet.model.t5_namer import T5Namer
from opendet.model.tiny_t5 import END, PAD

FLAN_T5_BASE = {
    "vocab_size": 32128,
    "d_model": 768,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 12,
    "num_decoder_layers": 12,
    "num_heads": 12,
}
CROWD = 100
"""Objects against one `generate` for each."""
ALONE = 5
"""Objects of the crowd that are in fact named one by one; the others would take as long each."""
SOME = 50
"""Objects whose names are to be there within SECONDS."""
SECONDS = {1: 1.0, 3: 1.5}
"""Goal by the number of beams, on two cores."""
SPEED_UP = 10.0


def measure(place: Place) -> Iterator[Row]:
    """Ours against one `generate` per object and against one for all, by the number of beams."""
    code = code_of("opendet.bench.naming")
    for beams, goal in SECONDS.items():
        settings = {"beams": beams, "objects": [CROWD, ALONE, SOME]}
        work = partial(times, FLAN_T5_BASE, beams=beams, device=place.device)
        told: dict[str, float] | None = place.unit(
            settings, code, work, what=f"naming with {beams} beams"
        )
        if told is not None:
            yield from _rows(told, beams, goal)


def _rows(told: dict[str, float], beams: int, goal: float) -> Iterator[Row]:
    threads = f"{told['threads']:.0f} threads"
    alone = f"{told['alone']:.1f} s for one `generate` each, from {ALONE}; {told['crowd']:.2f} s"
    yield at_least(f"{beams} beams, {CROWD} objects: speed-up", told["speed_up"], SPEED_UP, alone)
    yield at_most(f"{beams} beams, {SOME} objects, s", told["some"], goal, threads)
    batched = f"{told['batched']:.2f} s for the library's"
    yield Row(f"{beams} beams, {SOME} objects: share of one `generate`'s time", told["share"],
              detail=batched)  # fmt: skip
    yield at_least(f"{beams} beams: objects with equal names", told["equal"], 0.99, "of 100")


def times(
    sizes: dict[str, int],
    *,
    beams: int,
    device: str,
    objects: tuple[int, int, int] = (CROWD, ALONE, SOME),
    rounds: int = 3,
) -> dict[str, float]:
    """Seconds, medians over the rounds; `equal` is the share of objects with the same names."""
    crowd, alone, some = objects
    namer = random_namer(sizes).to(device)
    generator = torch.Generator().manual_seed(1)
    prompts = torch.randn(crowd, sizes["d_model"], generator=generator).to(device)
    settle = torch.cuda.synchronize if device == "cuda" else lambda: None

    def one_by_one() -> None:
        for prompt in prompts[:alone]:
            generate(namer, prompt[None], beams)

    each = compare(partial(namer.name, prompts, beams), one_by_one, rounds=rounds, settle=settle)
    batch = compare(
        partial(namer.name, prompts[:some], beams),
        partial(generate, namer, prompts[:some], beams),
        rounds=rounds,
        settle=settle,
    )
    pairs = zip(namer.name(prompts, beams), generate(namer, prompts, beams), strict=True)
    return {
        "crowd": each.ours,
        "alone": each.theirs * crowd / alone,
        "speed_up": crowd / alone / each.ratio,
        "some": batch.ours,
        "batched": batch.theirs,
        "share": batch.ratio,
        "equal": sum(ours == theirs for ours, theirs in pairs) / crowd,
        "threads": float(torch.get_num_threads()),
    }


def random_namer(sizes: dict[str, int], *, lora_rank: int = 0) -> T5Namer:
    """A namer with random weights whose next token hangs on the prompt and on those before.

    With a rank its head is a LoRA head.
    """
    from transformers import T5Config, T5ForConditionalGeneration

    fixed = {"feed_forward_proj": "gated-gelu", "decoder_start_token_id": 0}
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        t5 = T5ForConditionalGeneration(T5Config.from_dict({**sizes, **fixed}))
    t5.config.tie_word_embeddings = t5.config.scale_decoder_outputs = False
    shape = (sizes["vocab_size"], sizes["d_model"])
    head = torch.randn(shape, generator=generator) * 4 * sizes["d_model"] ** -0.5
    t5.lm_head.weight = torch.nn.Parameter(head)  # as sure of a token as a trained one
    tokenizer = _tell_tokens_apart(sizes["vocab_size"])
    head_kind: Literal["lora", "full"] = "lora" if lora_rank else "full"
    config = NamerConfig(head=head_kind, lora_rank=lora_rank or 1)
    return T5Namer(t5, tokenizer, config).eval()


def _tell_tokens_apart(count: int) -> Any:
    """A tokenizer that has a word for every token, so that equal names are equal tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {PAD: 0, END: 1, **{f"w{i}": i for i in range(2, count)}}
    make: Any = PreTrainedTokenizerFast
    model = Tokenizer(models.WordLevel(words, unk_token=PAD))
    model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return make(tokenizer_object=model, pad_token=PAD, eos_token=END)


@torch.no_grad()
def generate(namer: T5Namer, prompts: Tensor, beams: int) -> list[list[str]]:
    """What the library alone makes of prompts (N, D_t)."""
    t5: Any = namer.t5
    embeddings = namer.embed(prompts)
    tokens = t5.generate(
        inputs_embeds=embeddings,
        attention_mask=embeddings.new_ones(embeddings.shape[:2]),
        num_beams=beams,
        num_return_sequences=beams,
        max_new_tokens=namer.config.max_new_tokens,
        do_sample=False,
    )
    texts = namer.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    clean = [" ".join(text.split()) for text in texts]
    return [clean[i : i + beams] for i in range(0, len(clean), beams)]
