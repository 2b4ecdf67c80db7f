"""Head weights, regularised flow and rollout against numbers worked by hand; nothing is kept."""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_families import FAMILIES, save_tiny_family
from tiny_llava import save_tiny_llava
from transformers import AutoModelForImageTextToText

from opendet.vl_sam.attention import (
    AttentionFlow,
    FlowRules,
    flow_factors,
    flowed,
    gathered,
    head_weights,
    merged_heads,
)

PLAIN = FlowRules(weighted_heads=False, regularised=False)
TWO_HEADS = torch.tensor([[[1.0, 0.0], [0.25, 0.75]], [[1.0, 0.0], [0.5, 0.5]]])  # (H, N, N)


def causal(count: int) -> torch.Tensor:
    return torch.ones(count, count).tril().bool()


def random_layers(layers: int, heads: int, count: int) -> list[torch.Tensor]:
    """Causal attention of every layer (H, N, N)."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(layers, heads, count, count, generator=generator)
    return list(logits.masked_fill(~causal(count), -torch.inf).softmax(-1))


# --- one layer


def test_a_heads_weight_is_its_mean_greatest_attention() -> None:
    assert head_weights(TWO_HEADS).tolist() == [0.875, 0.75]


def test_sharp_heads_count_for_more() -> None:
    # second row: (.875 * .25 + .75 * .5) / 2 and (.875 * .75 + .75 * .5) / 2
    expected = [[0.8125, 0.0], [0.296875, 0.515625]]
    assert merged_heads(TWO_HEADS).tolist() == expected
    assert merged_heads(TWO_HEADS, PLAIN).tolist() == [[1.0, 0.0], [0.375, 0.625]]
    assert TWO_HEADS[0].tolist() == [[1.0, 0.0], [0.25, 0.75]]  # left as it was


def test_half_precision_is_added_up_in_full() -> None:
    heads = random_layers(1, 8, 16)[0]
    merged = merged_heads(heads.bfloat16())
    assert merged.dtype == torch.float32
    assert torch.allclose(merged, merged_heads(heads.bfloat16().float()))


def test_the_factor_of_a_causal_mask_is_a_ramp() -> None:
    assert flow_factors(causal(4)).tolist() == [0.25, 0.5, 0.75, 1.0]


def test_the_factor_of_any_mask_counts_its_rows() -> None:
    seen = causal(4)
    seen[0, 1] = True  # two tokens that see each other, as an image's do in some models
    seen[3, 0] = False  # and a window
    assert flow_factors(seen).tolist() == [0.5, 0.25, 0.75, 1.0]
    assert flow_factors(torch.ones(4, 4).bool()).tolist() == [0.25] * 4


# --- layers


def test_two_layers_by_hand() -> None:
    first = flowed(None, torch.tensor([[0.5, 0.0], [0.25, 0.25]]))
    assert torch.allclose(first, torch.tensor([[1.0, 0.0], [1 / 6, 5 / 6]]))
    # [[1.5, 0], [.5, 1.5]] @ [[2, 0], [1/6, 11/6]] = [[3, 0], [1.25, 2.75]]
    second = flowed(first, torch.tensor([[0.5, 0.0], [0.5, 0.5]]))
    assert torch.allclose(second, torch.tensor([[1.0, 0.0], [0.3125, 0.6875]]))


def test_the_whole_of_it_by_hand() -> None:
    """Two equal layers of two heads, N = 2: columns are multiplied by 1/2 and 1."""
    flow = AttentionFlow()
    flow.add(TWO_HEADS)
    # I + S' = [[1.40625, 0], [.1484375, 1.515625]]
    low = 0.1484375 / (0.1484375 + 1.515625)
    assert flow.rollout is not None
    assert torch.allclose(flow.rollout, torch.tensor([[1.0, 0.0], [low, 1 - low]]))
    flow.add(TWO_HEADS)
    row = [0.1484375 * 2 + 1.515625 * low, 1.515625 * (2 - low)]
    expected = torch.tensor([1.0, 0.0, row[0] / sum(row), row[1] / sum(row)]).reshape(2, 2)
    assert torch.allclose(flow.rollout, expected)


def test_rows_stay_distributions_over_what_they_may_see() -> None:
    flow = AttentionFlow()
    for layer in random_layers(5, 3, 12):
        flow.add(layer)
    assert flow.rollout is not None
    assert torch.allclose(flow.rollout.sum(1), torch.ones(12))
    assert bool((flow.rollout[~causal(12)] == 0).all())
    assert bool((flow.rollout >= 0).all())


def test_regularisation_keeps_the_first_tokens_from_taking_all() -> None:
    """With equal attention to all that is seen, the plain flow runs to the first tokens."""
    even = causal(20).float() / torch.arange(1, 21)[:, None]
    last = {}
    for regularised in (False, True):
        flow = AttentionFlow(FlowRules(weighted_heads=False, regularised=regularised))
        for _ in range(8):
            flow.add(even[None])
        assert flow.rollout is not None
        last[regularised] = flow.rollout[-1, :-1]
    assert last[False][0] > 3 * last[False][-1]
    assert last[True][0] < last[True][-1]


# --- bounded memory


def large_tensors(least: int) -> list[torch.Tensor]:
    return [one for one in gc.get_objects() if type(one) is torch.Tensor and one.numel() >= least]


def test_only_one_matrix_is_kept_however_many_layers_and_heads_there_were() -> None:
    count = 173
    before = {id(one) for one in large_tensors(count * count)}

    def layers() -> Iterator[torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        for _ in range(3):
            yield torch.rand(7, count, count, generator=generator)

    flow, gone = AttentionFlow(), []
    for layer in layers():
        answer = flow(None, (), {"attention_mask": None}, ("states", layer[None]))
        assert answer == ("states", None)
        gone.append(weakref.ref(layer))
        del layer
        shapes = [one.shape for one in large_tensors(count * count) if id(one) not in before]
        assert shapes == [(count, count)]
        assert gone[-1]() is None


# --- a model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("models")
    saved = {"llava": save_tiny_llava(folder / "llava")}
    saved |= {family: save_tiny_family(folder / family, family) for family in FAMILIES}
    return {
        family: AutoModelForImageTextToText.from_pretrained(path).eval()
        for family, path in saved.items()
    }


def words(model: Any) -> dict[str, torch.Tensor]:
    tokens = torch.arange(20, 40)[None]
    told = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    return told | ({"mm_token_type_ids": tokens * 0} if "qwen" in model.config.model_type else {})


@pytest.mark.parametrize("family", ["llava", *FAMILIES])
def test_hooks_gather_what_the_library_would_have_kept(models: dict[str, Any], family: str) -> None:
    model = models[family]
    decoder = model.get_decoder()
    flow = gathered(model, words(model), "it")
    assert decoder.config._attn_implementation == "sdpa"  # as it was
    assert not any(layer.self_attn._forward_hooks for layer in decoder.layers)
    decoder.set_attn_implementation("eager")
    with torch.inference_mode():
        kept = model(**words(model), output_attentions=True).attentions
    decoder.set_attn_implementation("sdpa")
    expected = AttentionFlow()
    for layer in kept:
        expected.add(layer[0], causal(20))
    assert len(kept) == 2
    assert expected.rollout is not None
    assert torch.allclose(flow, expected.rollout, atol=1e-6)


def test_the_models_own_mask_says_what_is_seen(models: dict[str, Any]) -> None:
    """A token that is masked out for all counts as seen by none."""
    model = models["llava"]
    told = words(model)
    told["attention_mask"][0, 0] = 0
    told["position_ids"] = torch.arange(20)[None]
    plain = gathered(model, told, "it", FlowRules(regularised=False))
    assert bool((plain[1:, 0] < 1e-6).all())


class Fused(torch.nn.Module):
    """Attention that never makes its weights."""

    def forward(self, hidden_states: torch.Tensor, **_: Any) -> tuple[torch.Tensor, None]:
        return hidden_states, None


def test_a_model_without_attention_weights_is_one_clear_line(tmp_path: Path) -> None:
    saved = save_tiny_llava(tmp_path / "fused")
    model = AutoModelForImageTextToText.from_pretrained(saved).eval()
    decoder = model.get_decoder()
    decoder.layers[1].self_attn = Fused()
    with pytest.raises(ValueError, match=r"^fused gives no attention weights: .*eager") as caught:
        gathered(model, words(model), "fused")
    assert "\n" not in str(caught.value)
    assert decoder.config._attn_implementation == "sdpa"
    assert not any(layer.self_attn._forward_hooks for layer in decoder.layers)
    decoder.layers = torch.nn.ModuleList([])
    with pytest.raises(ValueError, match="fused gives no attention weights"):
        gathered(model, words(model), "fused")


def test_attention_that_is_no_number_is_one_clear_line(tmp_path: Path) -> None:
    saved = save_tiny_llava(tmp_path / "nan")
    model = AutoModelForImageTextToText.from_pretrained(saved).eval()
    with torch.no_grad():
        model.get_decoder().layers[0].self_attn.q_proj.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"^it attends with what is no number: try dtype float32"):
        gathered(model, words(model), "it")
