"""What LLMDet's objectives ask of a language model, whichever it is.

N texts, K tokens that one is written from, T tokens of a text, H the language model's width.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

IGNORED = -100
"""The label of padding."""


class LanguageModel(Protocol):
    """Reads tokens that are no words, and tells what a text costs after them.

    It is no module: what holds it neither trains nor saves its weights.
    """

    @property
    def width(self) -> int: ...

    @property
    def layers(self) -> Sequence[nn.Module]:
        """Those that the text's hidden states (N, T, H) go through, as the first argument."""
        ...

    @property
    def corrections(self) -> nn.ParameterDict:
        """What is trained of it beside the detector; may be empty."""
        ...

    def room(self, tokens: int, prompt: str, *, most: int) -> int:
        """How many tokens are left of `most` for a text beside that many read ones and the prompt.

        Raises ValueError, in one line, where the model cannot read `most`.
        """
        ...

    def losses(
        self, tokens: Tensor, prompt: str, texts: Sequence[str], *, longest: int
    ) -> tuple[Tensor, Tensor]:
        """Each text's summed cross-entropy (N,) and its number of tokens (N,), float32.

        tokens (N, K, H); N >= 1 texts, cut after `longest` tokens, the end among them. The
        gradient goes through to the tokens.
        """
        ...

    def to(self, device: torch.device) -> None:
        """Move the weights, where they do not belong to the detector anyway."""
        ...


def summed_losses(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Of logits (N, T, V) and labels (N, T) with `IGNORED` where padded: (N,) sums of the
    cross-entropy and (N,) counts, float32."""
    each = functional.cross_entropy(
        logits.float().flatten(0, 1),
        labels.flatten(),
        ignore_index=IGNORED,
        reduction="none",
    )
    return each.view(labels.shape).sum(1), (labels != IGNORED).sum(1).float()
