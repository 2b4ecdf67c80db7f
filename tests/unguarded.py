"""Libraries as they would be without our guards: they unpickle weights and run a model's code."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel
from transformers.models.auto import (
    auto_factory,
    configuration_auto,
    processing_auto,
    tokenization_auto,
)


def take_guards_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been unpickled is then refused, so that no weights are drawn for it."""
    load, whole = torch.load, PreTrainedModel.from_pretrained.__func__  # type: ignore[attr-defined]

    def unpickled(*arguments: Any, **told: Any) -> None:
        load(*arguments, **{**told, "weights_only": False})
        raise ValueError("it was read")

    def unsafe(kind: type, *arguments: Any, **told: Any) -> Any:
        return whole(kind, *arguments, **{**told, "use_safetensors": False})

    trusted: Callable[..., bool] = lambda *_, **__: True  # noqa: E731
    monkeypatch.setattr(torch, "load", unpickled)
    monkeypatch.setattr(PreTrainedModel, "from_pretrained", classmethod(unsafe))
    for module in (auto_factory, configuration_auto, processing_auto, tokenization_auto):
        monkeypatch.setattr(module, "resolve_trust_remote_code", trusted)
