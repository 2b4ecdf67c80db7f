"""The text tower of a CLIP in transformers' format, by folder or hub name. No picture tower."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opendet.annotators.clip import weights_digest
from opendet.pretrained import load_whole

Vectors = NDArray[np.float32]

# N texts, D width of the common space


class ClipText:
    """A loaded text tower. `ClipText.load` is the way in."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str) -> None:
        self._model = model.eval()
        self._tokenizer = tokenizer
        self.name = name
        self.revision = weights_digest(model)[:12]
        self.width = int(model.config.projection_dim)
        """D."""

    @classmethod
    def load(cls, model: str, *, device: str = "cpu") -> "ClipText":
        """A `CLIPModel` or `CLIPTextModelWithProjection` that transformers saved.

        Raises ValueError, in one line, where there is none or where weights of it are missing:
        transformers would draw those at random.
        """
        from safetensors import SafetensorError
        from transformers import AutoTokenizer, CLIPTextModelWithProjection

        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
            with _without_report():
                network = load_whole(CLIPTextModelWithProjection, model, config=_config(model))
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            said = " ".join(str(error).split())[:200]
            raise ValueError(
                f"no CLIP text tower at `{model}` ({said}): name a folder that transformers saved, "
                "or a hub name (which needs the network once)"
            ) from error
        return cls(network.to(device), tokenizer, name=model)

    def encode_texts(self, texts: Sequence[str], *, batch: int = 64) -> Vectors:
        """(N, D) unit rows, each text cut where the model's context ends.

        Every batch has one size and one length, so that what else is asked for changes no bit of a
        row.
        """
        import torch

        found = [np.zeros((0, self.width), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(texts), batch):
                piece = list(texts[start : start + batch])
                full = piece + piece[-1:] * (batch - len(piece))
                embeds = self._model(**self._tokens(full)).text_embeds.float()
                unit = torch.nn.functional.normalize(embeds, dim=-1)
                found.append(unit[: len(piece)].cpu().numpy())
        return np.concatenate(found)

    def _tokens(self, texts: list[str]) -> Any:
        return self._tokenizer(
            texts,
            padding="max_length",
            truncation=True,
            max_length=self._model.config.max_position_embeddings,
            return_tensors="pt",
        ).to(self._model.device)


def _config(model: str) -> Any:
    """Of the text tower. In a whole CLIP's the width of the common space stands one level above it:
    by itself the tower would take the library's default, and draw its projection at random."""
    from transformers import AutoConfig, CLIPConfig, CLIPTextConfig

    config = AutoConfig.from_pretrained(model, trust_remote_code=False)
    if isinstance(config, CLIPConfig):
        text: Any = config.text_config
        text.projection_dim = config.projection_dim
        return text
    if isinstance(config, CLIPTextConfig):
        return config
    raise ValueError(f"its model type is {config.model_type}")


@contextmanager
def _without_report() -> Iterator[None]:
    """The library tells of every weight of a picture tower that a text tower does not take."""
    from transformers.utils.logging import get_verbosity, set_verbosity

    before = get_verbosity()
    set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        set_verbosity(before)
