"""A T5 that reads one token per object, as the arithmetic that naming needs and no more.

Softmax over one key is 1 (spec/open_det.md A.1): the encoder's self-attention is its value and
output projections, and the decoder's cross-attention is one vector per layer and object, whatever
the decoder's state. Keys and values of the decoder's self-attention are written once and never
reordered: every beam of an object may look at the slots of all its beams, and a mask says which
were its own.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from transformers import T5ForConditionalGeneration

# N objects, W beams of each, D d_model, H heads, L layers, V vocabulary, T steps, S slots


class OneTokenT5:
    """Step by step, what the head says of N objects' next tokens."""

    @torch.no_grad()
    def __init__(
        self, t5: "T5ForConditionalGeneration", embeddings: Tensor, *, steps: int, beams: int
    ) -> None:
        """Encode embeddings (N, D) and make room for as many steps of as many beams."""
        model: Any = t5
        self.t5 = model
        self.blocks = model.decoder.block
        attention = self.blocks[0].layer[0].SelfAttention
        self.bias = attention.compute_bias(steps, steps)[0]  # (H, T, T)
        encoded = encode_one(model.encoder, embeddings)  # (N, D)
        cross = [attend_to_one(block.layer[1].EncDecAttention, encoded) for block in self.blocks]
        self.cross = torch.stack(cross)[:, :, None]  # (L, N, 1, D)
        heads, width = attention.n_heads, attention.key_value_proj_dim
        slots = 1 + (steps - 1) * beams  # the first step is one and the same for all beams
        shape = (len(self.blocks), 2, len(embeddings), heads, slots, width)
        self.cache = cross[0].new_empty(shape)  # keys and values
        self.places: list[int] = []  # the step of each slot written so far
        self.seen = torch.ones(len(embeddings), 1, 0, dtype=torch.bool, device=embeddings.device)

    @torch.no_grad()
    def step(self, tokens: Tensor, parents: Tensor) -> Tensor:
        """Log-probabilities (N, W, V) of what follows each beam.

        tokens (N, W) continue the beams `parents` (N, W) of the step before.
        """
        objects, beams = tokens.shape
        own = torch.eye(beams, dtype=torch.bool, device=tokens.device).expand(objects, -1, -1)
        slots = self.seen.shape[2]
        seen = self.seen.gather(1, parents[..., None].expand(-1, -1, slots))
        self.seen = torch.cat([seen, own], dim=2)  # (N, W, S)
        now = self.places[-1] + 1 if self.places else 0
        self.places += [now] * beams
        bias = self.bias[:, now, self.places][:, None]  # (H, 1, S)
        mask = torch.where(self.seen[:, None], bias, -torch.inf)  # (N, H, W, S)
        hidden = self.t5.shared(tokens)  # (N, W, D)
        for block, cross, cache in zip(self.blocks, self.cross, self.cache, strict=True):
            hidden = hidden + _attend(block.layer[0], hidden, cache, mask) + cross
            hidden = hidden + feed_forward(block.layer[2], hidden)
        return self._log_probs(self.t5.decoder.final_layer_norm(hidden))

    def keep(self, rows: Tensor) -> None:
        """Forget all objects but these."""
        self.cross, self.cache, self.seen = (
            self.cross[:, rows],
            self.cache[:, :, rows],
            self.seen[rows],
        )

    def _log_probs(self, hidden: Tensor) -> Tensor:
        if self.t5.config.scale_decoder_outputs:
            hidden = hidden * self.t5.model_dim**-0.5
        head = self.t5.lm_head
        logits = _product(hidden, head.base)
        if head.rank:
            logits += head.correction(hidden)
        return logits.float().log_softmax(dim=-1)


def encode_one(encoder: Any, hidden: Tensor) -> Tensor:
    """(N, D) -> (N, D): attention of each token to itself alone."""
    for block in encoder.block:
        attention, feeding = block.layer
        normed = attention.layer_norm(hidden)
        hidden = hidden + attend_to_one(attention.SelfAttention, normed)
        hidden = hidden + feed_forward(feeding, hidden)
    encoded: Tensor = encoder.final_layer_norm(hidden)
    return encoded


def attend_to_one(attention: Any, source: Tensor) -> Tensor:
    """What any query reads of a single key (N, D): its value, projected."""
    return _linear(attention.o, _linear(attention.v, source))


def _attend(layer: Any, hidden: Tensor, cache: Tensor, mask: Tensor) -> Tensor:
    """Self-attention of the newest tokens (N, W, D); writes their keys and values to the cache.

    cache (2, N, H, slots, D / H), mask (N, H, W, S): the bias, minus infinity where not seen.
    """
    attention, normed = layer.SelfAttention, layer.layer_norm(hidden)
    objects, beams, _ = hidden.shape
    used = mask.shape[-1]

    def heads(projection: nn.Module) -> Tensor:  # (N, H, W, D / H)
        split = _linear(projection, normed).view(objects, beams, attention.n_heads, -1)
        return split.transpose(1, 2)

    cache[0, :, :, used - beams : used] = heads(attention.k)
    cache[1, :, :, used - beams : used] = heads(attention.v)
    keys, values = cache[:, :, :, :used]
    weights = (heads(attention.q) @ keys.transpose(2, 3) + mask).softmax(dim=-1)  # (N, H, W, S)
    read = (weights @ values).transpose(1, 2).reshape(objects, beams, -1)
    return _linear(attention.o, read)


def feed_forward(layer: Any, hidden: Tensor) -> Tensor:
    dense, normed = layer.DenseReluDense, layer.layer_norm(hidden)
    if hasattr(dense, "wi"):
        return _linear(dense.wo, _activate(dense.act, _linear(dense.wi, normed)))
    gate = _activate(dense.act, _linear(dense.wi_0, normed))
    return _linear(dense.wo, gate * _linear(dense.wi_1, normed))


def _activate(function: Any, inputs: Tensor) -> Tensor:
    from transformers.activations import NewGELUActivation

    if isinstance(function, NewGELUActivation):
        return functional.gelu(inputs, approximate="tanh")  # the same in one pass, not in eight
    activated: Tensor = function(inputs)
    return activated


def _linear(module: nn.Module, inputs: Tensor) -> Tensor:
    if type(module) is nn.Linear and module.bias is None:
        return _product(inputs, module.weight)
    outputs: Tensor = module(inputs)
    return outputs


def _product(inputs: Tensor, weight: Tensor) -> Tensor:
    """inputs (..., in), weight (out, in) -> (..., out).

    On a CPU by oneDNN, which took half of MKL's time for these shapes on an AMD (docs/log.md).
    """
    plain = (
        torch.compiler.is_exporting()
        or inputs.device.type != "cpu"
        or inputs.dtype != torch.float32
        or torch.is_autocast_enabled("cpu")
        or not torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    )
    if plain:
        return functional.linear(inputs, weight)
    product: Tensor = functional.linear(inputs.flatten(0, -2).to_mkldnn(), weight).to_dense()
    return product.view(*inputs.shape[:-1], len(weight))
