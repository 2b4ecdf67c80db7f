"""The namer's own T5 as the language model of LLMDet's objectives: one model less in memory.

Its encoder reads the tokens and the prompt, its decoder writes. It is the detector's, trained or
frozen as the detector's is. N texts, K read tokens, T tokens of a text, H the T5's width.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from opendet.model.language_model import summed_losses
from opendet.model.t5_namer import T5Namer


class T5Language:
    """`LanguageModel` of a namer."""

    def __init__(self, namer: T5Namer) -> None:
        self._namer = namer
        self._t5: Any = namer.t5

    @property
    def width(self) -> int:
        return int(self._t5.config.d_model)

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The decoder's: the text looks back while it is written."""
        return list(self._t5.decoder.block)

    @property
    def corrections(self) -> nn.ParameterDict:
        return nn.ParameterDict()

    def to(self, device: torch.device) -> None:
        """The detector moves it."""

    def room(self, tokens: int, prompt: str, *, most: int) -> int:
        return most - tokens - self._prompt(prompt).shape[1]

    def losses(
        self, tokens: Tensor, prompt: str, texts: Sequence[str], *, longest: int
    ) -> tuple[Tensor, Tensor]:
        labels = self._namer.encode(texts, longest=longest).to(tokens.device)
        asked = self._t5.shared(self._prompt(prompt).to(tokens.device)).expand(len(tokens), -1, -1)
        logits = self._t5(
            inputs_embeds=torch.cat((tokens.to(asked), asked), 1),
            decoder_input_ids=self._t5.prepare_decoder_input_ids_from_labels(labels),
            use_cache=False,
        ).logits
        return summed_losses(logits, labels)

    def _prompt(self, prompt: str) -> Tensor:
        """(1, tokens) int64"""
        ids: Tensor = self._namer.tokenizer(prompt, return_tensors="pt")["input_ids"]
        return ids
