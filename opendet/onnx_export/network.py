"""What is written as ONNX: the detector on images of one size, and a T5 that names prompts.

A graph can hold no decision that depends on what is seen: queries below the threshold stay, marked
as such, and every one of them gets its prompt. Batch and sizes stay free. Images come cut into
units of 32 pixels, a view of the same array, so that the exporter need not prove of every map that
its sides are whole numbers.
B images of U x V units, Q queries, D the detector's width, D_t the prompts',
D_c the prototypes'; N objects, W beams, L layers, G heads, C = width of a head, S slots, V tokens.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from opendet.model.backbone import normalise_images
from opendet.model.detector import SIZE_UNIT, OpenDetector
from opendet.model.features import join_levels
from opendet.model.one_token_t5 import attend_to_one, encode_one, feed_forward
from opendet.model.outputs import DetectorOutput
from opendet.model.prototype_head import PrototypeHead
from opendet.model.t5_namer import T5Namer


class DetectorGraph(nn.Module):
    """Images in; boxes, scores, and all that a namer may read of each query."""

    def __init__(self, detector: OpenDetector) -> None:
        super().__init__()
        self.detector = detector

    @property
    def outputs(self) -> tuple[str, ...]:
        head = () if self.detector.prototypes is None else ("projected", "enriched")
        return ("boxes_cxcywh", "scores", "valid", "queries", "prompts", *head)

    def forward(self, images: Tensor, sizes_hw: Tensor) -> tuple[Tensor, ...]:
        """images (B, 3, U, 32, V, 32) in [0, 1], zero where padded; sizes_hw (B, 2) int64 unpadded
        -> boxes (B, Q, 4) in [0, 1] of the unpadded image, scores (B, Q), whether there is a query
        (B, Q), queries (B, Q, D), prompts (B, Q, D_t), and with prototypes twice (B, Q, D_c)."""
        batch, colours, rows, _, columns, _ = images.shape
        whole = images.reshape(batch, colours, rows * SIZE_UNIT, columns * SIZE_UNIT)
        output = self._look(whole, sizes_hw)
        prompts = self.detector.prompts.of_all(output)
        parts = (output.boxes_cxcywh, output.scores(), output.valid, output.queries, prompts)
        head = self.detector.prototypes
        if head is None:
            return parts
        reads = prompts if head.config.reads == "prompt" else output.queries
        return (*parts, *_semantics(head, reads))

    def _look(self, images: Tensor, sizes_hw: Tensor) -> DetectorOutput:
        """The detector's forward, for images that need no grouping by their sizes."""
        detector = self.detector
        normalised = normalise_images(images, sizes_hw)
        maps = detector.neck(detector.backbone(normalised))
        features = join_levels(maps, detector.strides, sizes_hw)
        memory = detector.encoder(features)
        selection = detector.selection(memory)
        return DetectorOutput(
            proposals=selection.proposals,
            layers=detector.decoder(selection, memory),
            valid=selection.valid,
            denoising=None,
            images=normalised,
            features=features,
            memory=memory,
            sizes_hw=sizes_hw,
        )


def _semantics(head: PrototypeHead, reads: Tensor) -> tuple[Tensor, Tensor]:
    """What is compared with the prototypes, unit vectors, and what with given classes."""
    projected = functional.normalize(head.project(reads.float()), dim=-1)
    return projected, head(reads).enriched


class PredictorGraph(nn.Module):
    """DeCo-DETR's semantic predictor: enriched queries (N, D_c), unit classes (K, D_c) -> (N, K)
    logits."""

    def __init__(self, head: PrototypeHead) -> None:
        super().__init__()
        self.predictor = head.predictor

    def forward(self, enriched: Tensor, classes: Tensor) -> Tensor:
        logits: Tensor = self.predictor(enriched, classes)
        return logits


class NamerStart(nn.Module):
    """Prompts (N, D_t) -> (L, N, 1, D) what every decoder layer reads of them, at any step."""

    def __init__(self, namer: T5Namer) -> None:
        super().__init__()
        self.namer = namer

    def forward(self, prompts: Tensor) -> Tensor:
        t5: Any = self.namer.t5
        encoded = encode_one(t5.encoder, self.namer.embed(prompts)[:, 0])
        blocks = t5.decoder.block
        read = [attend_to_one(block.layer[1].EncDecAttention, encoded) for block in blocks]
        return torch.stack(read)[:, :, None]


class NamerStep(nn.Module):
    """One more token of each beam; keys and values of the tokens before come in, and those of this
    one come out, so that the caller keeps them."""

    def __init__(self, namer: T5Namer) -> None:
        super().__init__()
        self.t5: Any = namer.t5

    def forward(
        self, tokens: Tensor, read: Tensor, keys: Tensor, values: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """tokens (N, W), read (L, N, 1, D), keys and values (L, N, G, S, C), mask (N, G, W, S + W):
        the bias, minus infinity where a beam does not see -> log-probabilities (N, W, V), and the
        new keys and values (L, N, G, W, C)."""
        hidden = self.t5.shared(tokens)
        new_keys, new_values = [], []
        for place, block in enumerate(self.t5.decoder.block):
            attended, key, value = _attend(block.layer[0], hidden, keys[place], values[place], mask)
            hidden = hidden + attended + read[place]
            hidden = hidden + feed_forward(block.layer[2], hidden)
            new_keys.append(key)
            new_values.append(value)
        hidden = self.t5.decoder.final_layer_norm(hidden)
        if self.t5.config.scale_decoder_outputs:
            hidden = hidden * self.t5.model_dim**-0.5
        log_probs: Tensor = self.t5.lm_head(hidden).log_softmax(dim=-1)
        return log_probs, torch.stack(new_keys), torch.stack(new_values)


def _attend(
    layer: Any, hidden: Tensor, keys: Tensor, values: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Self-attention of the newest tokens (N, W, D), and their keys and values (N, G, W, C)."""
    attention, normed = layer.SelfAttention, layer.layer_norm(hidden)

    def heads(projection: nn.Module) -> Tensor:
        split: Tensor = projection(normed).unflatten(-1, (attention.n_heads, -1))
        return split.transpose(1, 2)

    key, value = heads(attention.k), heads(attention.v)
    keys, values = torch.cat((keys, key), 2), torch.cat((values, value), 2)
    weights = (heads(attention.q) @ keys.mT + mask).softmax(-1)  # (N, G, W, S + W)
    read = (weights @ values).transpose(1, 2).flatten(2)
    return attention.o(read), key, value
