"""How attention flows through a language model, gathered layer by layer in one pass.

    W    = mean_i max_j S[h, i, j]                    a head's weight: sharp heads say where
    S'   = mean_h (S[h] W[h])                         a layer's heads made one
    S'_j = S'_j (1 - (L0_j - 1) / N)                  L0_j: rows that column j is open to
    S~l  = rownorm((I + S'l) (I + S~(l-1))), S~0 = 0  the flow up to layer l

The third line keeps the flow from collapsing to the first tokens: under a causal mask all later
ones see them, L0_j = N - j, and the factor is (j + 1) / N. Only the flow is kept, never the heads:
one N x N matrix in float32, whatever the number of heads and layers.

N tokens of prompt, image and answer; H heads of a layer.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

NO_WEIGHTS = (
    "gives no attention weights: VL-SAM reads them, so it needs a model that has an eager "
    "implementation of attention; choose another one"
)


@dataclass(frozen=True, slots=True)
class FlowRules:
    """What of the published flow is done; all of it, but in an ablation."""

    weighted_heads: bool = True
    """Whether sharp heads count for more; else all alike."""
    regularised: bool = True
    """Whether columns that many rows see count for less."""


def head_weights(attention: "Tensor") -> "Tensor":
    """(H, N, N) -> (H) in (0, 1]: the mean over queries of the greatest weight given to a key."""
    return attention.amax(2).float().mean(1)


def merged_heads(attention: "Tensor", rules: FlowRules = FlowRules()) -> "Tensor":
    """(H, N, N) -> (N, N) float32, head by head so that no second H x N x N is made."""
    heads = len(attention)
    weights = head_weights(attention) if rules.weighted_heads else attention.new_ones(heads).float()
    merged = attention[0].float() * weights[0]
    for head, weight in zip(attention[1:], weights[1:], strict=True):
        merged += head.float() * weight
    return merged / heads


def flow_factors(seen: "Tensor") -> "Tensor":
    """(N, N) bool, may row i see column j -> (N) in (0, 1]: 1 - (L0 - 1) / N."""
    return 1 - (seen.sum(0).float() - 1) / len(seen)


def flowed(before: "Tensor | None", layer: "Tensor") -> "Tensor":
    """(N, N) of the layers below, None below the first, and (N, N) of a layer -> (N, N), each row's
    sum 1. Takes both for its own: they are changed."""
    layer.diagonal().add_(1)
    if before is not None:
        before.diagonal().add_(1)
        layer = layer @ before
    return layer / layer.sum(1, keepdim=True)


class AttentionFlow:
    """Takes in one layer after the other; `rollout` is what they make together."""

    def __init__(self, rules: FlowRules = FlowRules()) -> None:
        self.rollout: Tensor | None = None
        """(N, N) float32, on the model's device; None before the first layer."""
        self._rules = rules

    def add(self, attention: "Tensor", seen: "Tensor | None" = None) -> None:
        """(H, N, N) weights of the next layer, and (N, N) bool of what its mask lets through; None
        for a causal one."""
        merged = merged_heads(attention, self._rules)
        if self._rules.regularised:
            if seen is None:
                seen = merged.new_ones(merged.shape).tril().bool()
            merged *= flow_factors(seen)
        self.rollout = flowed(self.rollout, merged)

    def __call__(self, _: Any, __: Any, told: Mapping[str, Any], output: Any) -> Any:
        """A forward hook of a self-attention: reads its weights and lets go of them at once."""
        if not isinstance(output, tuple) or len(output) < 2 or output[1] is None:
            raise ValueError(NO_WEIGHTS)
        mask = told.get("attention_mask")  # (1, 1, N, N): bool, or 0 and a very negative number
        seen = None
        if mask is not None:
            seen = mask[0, 0] > -1 if mask.is_floating_point() else mask[0, 0].bool()
        self.add(output[1][0], seen)
        return output[0], None, *output[2:]


def gathered(
    model: Any, inputs: Mapping[str, Any], name: str, rules: FlowRules = FlowRules()
) -> "Tensor":
    """(N, N) float32: how the attention of one teacher-forced pass flows from row to column.

    `inputs` are what the model takes, of one unpadded sequence of N tokens. Raises ValueError, in
    one line that begins with `name`, where its attention weights cannot be had or are no numbers.
    """
    import torch

    flow = AttentionFlow(rules)
    decoder = model.get_decoder()
    layers = [one for layer in decoder.layers if (one := getattr(layer, "self_attn", None))]
    try:
        with torch.inference_mode(), _eager(decoder), _hooked(layers, flow):
            model(**inputs, use_cache=False, logits_to_keep=1)
        if flow.rollout is None:
            raise ValueError(NO_WEIGHTS)
        if not bool(flow.rollout.isfinite().all()):
            raise ValueError("attends with what is no number: try dtype float32, or another model")
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error
    return flow.rollout


@contextmanager
def _eager(decoder: Any) -> Iterator[None]:
    """The one implementation of attention that hands its weights out, for a while."""
    usual = decoder.config._attn_implementation
    try:
        decoder.set_attn_implementation("eager")
    except (ValueError, ImportError, NotImplementedError) as error:
        raise ValueError(NO_WEIGHTS) from error
    try:
        yield
    finally:
        decoder.set_attn_implementation(usual)


@contextmanager
def _hooked(layers: list[Any], flow: AttentionFlow) -> Iterator[None]:
    hooks = [one.register_forward_hook(flow, with_kwargs=True) for one in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
