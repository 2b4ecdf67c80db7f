"""A causal language model of transformers that writes behind tokens which are no words.

    <frame> | tokens | <prompt and what follows it> | text <end>

Its weights are frozen and belong to no module of the detector: no optimizer, average, checkpoint or
export ever sees them. N texts, K read tokens, T tokens of a text, H the model's width.
"""

import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from opendet.model.language_model import IGNORED, summed_losses
from opendet.model.lora import LoraLinear

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

IMAGE = "<image>"
"""Where the tokens come in the user's turn of a chat template."""


class CausalLanguage:
    """`LanguageModel` of any decoder that takes `inputs_embeds`, in evaluation mode for good."""

    def __init__(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> None:
        """Raises ValueError, in one line, for a model whose layers or whose end nobody finds."""
        self._model: Any = model
        self._model.train(mode=False).requires_grad_(requires_grad=False)
        self._tokenizer: Any = tokenizer
        self._layers = _layers_of(model)
        self._corrections = nn.ParameterDict()
        if tokenizer.eos_token_id is None:
            raise ValueError("its tokenizer has no end token: nothing would end a caption")

    @property
    def width(self) -> int:
        return int(self._model.get_input_embeddings().embedding_dim)

    @property
    def layers(self) -> Sequence[nn.Module]:
        return self._layers

    @property
    def corrections(self) -> nn.ParameterDict:
        return self._corrections

    def correct(self, names: Sequence[str], *, rank: int, alpha: float, seed: int) -> None:
        """Give the linear layers whose last name is among these a correction of zero, trained.

        Raises ValueError where there is none.
        """
        found = [
            (f"{path}.{name}", parent, child)
            for path, parent in self._model.named_modules()
            for name, child in parent.named_children()
            if isinstance(child, nn.Linear) and name in names
        ]
        if not found:
            raise ValueError(f"it has no linear layer called {' or '.join(names)}")
        for path, parent, child in found:
            own_seed = seed + zlib.crc32(path.encode())
            corrected = LoraLinear.of(child, rank=rank, alpha=alpha, seed=own_seed)
            setattr(parent, path.rpartition(".")[2], corrected)
            for name in ("lora_a", "lora_b"):  # the same tensors here and in the model's layers
                parameter = nn.Parameter(getattr(corrected, name).detach().float())
                setattr(corrected, name, parameter)
                self._corrections[f"{path}.{name}".replace(".", "/")] = parameter

    def to(self, device: torch.device) -> None:
        self._model.to(device)

    def room(self, tokens: int, prompt: str, *, most: int) -> int:
        reach = getattr(self._model.config, "max_position_embeddings", None) or most
        if most > reach:
            raise ValueError(f"it reads at most {reach} tokens, not {most}")
        return most - tokens - sum(map(len, self._frame(prompt)))

    def losses(
        self, tokens: Tensor, prompt: str, texts: Sequence[str], *, longest: int
    ) -> tuple[Tensor, Tensor]:
        labels = self._labels(texts, longest).to(tokens.device)  # (N, T)
        embed = self._model.get_input_embeddings()
        before, after = (
            embed(torch.tensor(ids, dtype=torch.int64, device=tokens.device))
            for ids in self._frame(prompt)
        )
        given = embed(labels.clamp(min=0))  # (N, T, H)
        count, most = labels.shape
        parts = (before.expand(count, -1, -1), tokens.to(given), after.expand(count, -1, -1), given)
        embeddings = torch.cat(parts, 1)
        mask = torch.ones(embeddings.shape[:2], dtype=torch.int64, device=tokens.device)
        mask[:, -most:] = labels != IGNORED
        with self._precision(tokens.device):
            logits = self._model(
                inputs_embeds=embeddings,
                attention_mask=mask,
                logits_to_keep=most + 1,  # a vocabulary is wide: none for what is only read
                use_cache=False,
            ).logits
        return summed_losses(logits[:, -most - 1 : -1], labels)

    def _labels(self, texts: Sequence[str], longest: int) -> Tensor:
        """(N, T) int64, padded behind. A cut text has no end: it does not end there."""
        told = self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        rows = [[*ids, self._tokenizer.eos_token_id][:longest] for ids in told]
        return pad_sequence([torch.tensor(row) for row in rows], True, IGNORED)

    def _frame(self, prompt: str) -> tuple[list[int], list[int]]:
        """The tokens before and behind the read ones."""
        tokenizer = self._tokenizer
        if tokenizer.chat_template is None:
            begin = [it for it in tokenizer("")["input_ids"] if it == tokenizer.bos_token_id]
            return begin, self._words(f"\n{prompt}\n")
        said = tokenizer.apply_chat_template(
            [{"role": "user", "content": f"{IMAGE}\n{prompt}"}],
            tokenize=False,
            add_generation_prompt=True,
        )
        before, found, after = said.partition(IMAGE)
        if not found:
            raise ValueError("its chat template leaves the user's words out")
        return self._words(before), self._words(after)

    def _words(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _precision(self, device: torch.device) -> AbstractContextManager[None]:
        """Weights of bfloat16 meet corrections and other layers of float32."""
        dtype: torch.dtype = self._model.get_input_embeddings().weight.dtype
        return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def _layers_of(model: nn.Module) -> Sequence[nn.Module]:
    """The list of as many modules as the configuration says that there are layers."""
    config: Any = model.config
    count = getattr(config, "num_hidden_layers", None)
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return list(module)
    raise ValueError(f"a {type(model).__name__} shows no layers: take a decoder such as Qwen2")
