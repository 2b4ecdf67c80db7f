"""Our decoding against the library's `generate`, whose results it must reproduce."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import T5Config, T5ForConditionalGeneration

from opendet.model import t5_namer as namer_module
from opendet.model.config import NamerConfig
from opendet.model.name_search import (
    BLOCK,
    BeamSearch,
    Found,
    _likeliest,
    generate_names,
    search_names,
)
from opendet.model.t5_namer import T5Namer
from opendet.model.tiny_t5 import train_tokenizer

NAMES = ("a", "red star", "blue dotted ring", "green striped disc", "a thing of no colour at all")
CONFIG = NamerConfig(t5="tiny", beams=3)
WIDTH = 32
GELU = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
VARIANTS = {
    "flan": GELU,
    "first": {"feed_forward_proj": "relu", "tie_word_embeddings": True},  # scales its output
    "silu": {"feed_forward_proj": "gated-silu", "tie_word_embeddings": False},
    # buckets as narrow as this make every distance of a name differ in its bias
    "near": {**GELU, "relative_attention_num_buckets": 6, "relative_attention_max_distance": 8},
    "deep": {**GELU, "num_layers": 3, "num_decoder_layers": 2, "dropout_rate": 0.3},
}


def _build(variant: str, seed: int) -> T5Namer:
    tokenizer = train_tokenizer(NAMES, size=320)
    torch.manual_seed(seed)
    sizes = {"d_model": WIDTH, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4}
    ids = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    told = {"vocab_size": len(tokenizer), **sizes, **ids, **VARIANTS[variant]}
    t5 = T5ForConditionalGeneration(T5Config.from_dict(told))
    scale = 1.0 if told["tie_word_embeddings"] else WIDTH**-0.5
    t5.lm_head.weight = torch.nn.Parameter(t5.shared.weight.detach() * scale)
    torch.nn.init.normal_(t5.decoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight)
    namer = T5Namer(t5, tokenizer, CONFIG)
    torch.nn.init.normal_(namer.head.lora_b, std=0.1)
    return namer.eval()


def _teach(namer: T5Namer) -> T5Namer:
    """A namer that ends its names, each at a length of its own, and mixes them between."""
    optimizer = torch.optim.AdamW([p for p in namer.parameters() if p.requires_grad], 1e-2)
    for step in range(25):
        optimizer.zero_grad()
        noise = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(step))
        namer.loss(_prompts(5, 0) + 0.3 * noise, NAMES).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return namer


def _prompts(count: int, seed: int) -> Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def _plain(namer: T5Namer, prompts: Tensor, beams: int) -> tuple[list[list[str]], Tensor | None]:
    """What the library says: names by object, and its scores where it gives any."""
    t5: Any = namer.t5
    embeddings = namer.embed(prompts)
    told = t5.generate(
        inputs_embeds=embeddings,
        attention_mask=embeddings.new_ones(embeddings.shape[:2]),
        num_beams=beams,
        num_return_sequences=beams,
        max_new_tokens=namer.config.max_new_tokens,
        do_sample=False,
        output_scores=True,
        return_dict_in_generate=True,
    )
    texts = namer.tokenizer.batch_decode(told.sequences, skip_special_tokens=True)
    clean = [" ".join(text.split()) for text in texts]
    scores = told.sequences_scores.view(-1, beams) if beams > 1 else None
    return [clean[i : i + beams] for i in range(0, len(clean), beams)], scores


def _assert_as_the_library(namer: T5Namer, prompts: Tensor, beams: int) -> None:
    ours = namer.name_scored(prompts, beams)
    names, scores = _plain(namer, prompts, beams)
    assert [[name.text for name in each] for each in ours] == names
    if scores is not None:
        said = torch.tensor([[name.log_prob for name in each] for each in ours])
        torch.testing.assert_close(said, scores, atol=2e-5, rtol=1e-5)


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def taught(variant: str) -> T5Namer:
    return _teach(_build(variant, seed=5))


@pytest.fixture(scope="module")
def flan() -> T5Namer:
    return _teach(_build("flan", seed=6))


@pytest.mark.parametrize("beams", [1, 3, 5])
def test_trained_names_are_the_librarys(taught: T5Namer, beams: int) -> None:
    for count in (1, 40):
        _assert_as_the_library(taught, _prompts(count, count), beams)


@pytest.mark.parametrize("beams", [1, 3, 5])
def test_untrained_names_are_the_librarys(variant: str, beams: int) -> None:
    for seed in (1, 2):
        _assert_as_the_library(_build(variant, seed), _prompts(9, seed), beams)


def test_names_of_the_test_end_at_many_lengths(flan: T5Namer) -> None:
    found = search_names(flan.t5, flan.embed(_prompts(40, 40))[:, 0], beams=3, steps=12)
    lengths = set((found.tokens != 0).sum(dim=2).flatten().tolist())
    assert len(lengths) >= 5


def test_a_short_limit_cuts_as_the_library_cuts(flan: T5Namer) -> None:
    full, flan.config = flan.config, CONFIG.model_copy(update={"max_new_tokens": 2})
    for beams in (1, 3):
        _assert_as_the_library(flan, _prompts(12, 3), beams)
    flan.config = full


def test_an_end_that_is_less_likely_than_every_beam_is_no_name() -> None:
    end = torch.tensor([1])
    search = BeamSearch(objects=1, beams=2, steps=2, ends=end, pad=0)
    search.advance(torch.tensor([[[0.05, 0.2, 0.4, 0.35]]]).log(), step=0)  # the end is third
    # all that follows is so unlikely that the end alone would have had the best mean
    search.advance(torch.tensor([[[0.01, 1e-4, 0.02, 1e-3]] * 2]).log(), step=1)
    assert search.ended.tolist() == [[[2, 2], [3, 2]]]
    expected = torch.tensor([[0.4 * 0.02, 0.35 * 0.02]]).log() / 2
    torch.testing.assert_close(search.means, expected)


def test_several_tokens_per_object_are_read(flan: T5Namer) -> None:
    prompts = torch.stack([_prompts(6, 1), _prompts(6, 2), _prompts(6, 3)], dim=1)
    for beams in (1, 3):
        _assert_as_the_library(flan, prompts, beams)


def test_both_ways_find_the_same_and_tell_the_same_scores(flan: T5Namer) -> None:
    embeddings = flan.embed(_prompts(12, 6)).detach()
    for beams in (1, 4):
        ours: Found = search_names(flan.t5, embeddings[:, 0], beams=beams, steps=12)
        theirs: Found = generate_names(flan.t5, embeddings, beams=beams, steps=12)
        assert torch.equal(ours.tokens, theirs.tokens)
        torch.testing.assert_close(ours.log_probs, theirs.log_probs, atol=2e-5, rtol=1e-5)


def test_score_is_the_mean_of_the_losses(flan: T5Namer) -> None:
    prompts = _prompts(5, 0)
    first = [names[0] for names in flan.name_scored(prompts, 1)]
    sums, tokens = flan.losses(prompts, [name.text for name in first])
    said = torch.tensor([name.log_prob for name in first])
    torch.testing.assert_close(said, -(sums / tokens).detach(), atol=1e-4, rtol=1e-4)


def test_training_mode_says_the_same() -> None:
    namer = _build("deep", seed=3)
    one, several = _prompts(4, 1), _prompts(8, 1).view(4, 2, WIDTH)
    told = namer.name(one), namer.name(several)
    namer.train()
    assert (namer.name(one), namer.name(several)) == told
    assert namer.t5.training


def test_order_repeats_and_pieces_say_nothing(
    flan: T5Namer, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = _prompts(11, 4)
    names = flan.name(prompts)
    order = [3, 0, 3, 10, 0]
    assert flan.name(prompts[order]) == [names[i] for i in order]
    assert [[name.text for name in each] for each in flan.name_scored(prompts)] == names
    monkeypatch.setattr(namer_module, "BEAMS_AT_ONCE", 7)
    assert flan.name(prompts) == names
    assert flan.name(prompts[:0]) == flan.name_scored(prompts[:0]) == []


def test_half_precision_has_names_too(flan: T5Namer) -> None:
    prompts = _prompts(5, 0).bfloat16()
    assert flan.name(prompts) == flan.name(prompts.float())
    with torch.autocast("cpu", torch.bfloat16):
        beams = flan.name(prompts)
    first = [names[0] for names in beams]
    assert first == [names[0] for names in flan.name(prompts)]


@pytest.mark.parametrize("shape", [(5, WIDTH), (5, 2, WIDTH)])
def test_a_prompt_that_is_no_number_is_one_clear_line(shape: tuple[int, ...]) -> None:
    prompts = torch.zeros(shape)
    prompts[3, ..., 7] = torch.nan
    with pytest.raises(ValueError, match=r"prompt 3 of 5 is not finite: .* NaN"):
        _build("flan", seed=1).name(prompts)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_weight_that_is_no_number_is_one_clear_line(beams: int) -> None:
    namer = _build("flan", seed=1)
    torch.nn.init.constant_(namer.t5.decoder.final_layer_norm.weight, torch.nan)
    with pytest.raises(ValueError, match="weights give NaN"):
        namer.name(_prompts(3, 1), beams)


def test_a_prompt_of_zeros_has_a_name() -> None:
    namer = _build("flan", seed=1)
    _assert_as_the_library(namer, torch.zeros(1, WIDTH), 3)


@pytest.mark.parametrize("width", [5 * BLOCK, 9 * BLOCK, 9 * BLOCK + 1])
def test_likeliest_by_blocks_are_the_likeliest(width: int) -> None:
    values = torch.randn(4, 3, width, generator=torch.Generator().manual_seed(width))
    for count in (1, 6):
        got, expected = _likeliest(values, count), values.topk(count)
        assert torch.equal(got[0], expected.values)
        assert torch.equal(got[1], expected.indices)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_says_the_same() -> None:
    namer, prompts = _teach(_build("flan", seed=5)), _prompts(40, 1)
    names = namer.name(prompts)
    assert namer.cuda().name(prompts.cuda()) == names
