"""What each part of a detector takes: seconds of its forward pass, and bytes kept for the backward.

The parts are the detector's own children; of the namer, those of its T5.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

_T5 = ("namer.t5.encoder", "namer.t5.decoder", "namer.t5.lm_head")
_CHILDREN = ("backbone", "neck", "encoder", "selection", "decoder", "prompts")
PARTS = (*_CHILDREN, "namer")
OTHER = "other"
"""Whatever runs outside of the parts: losses, matching."""


@dataclass
class PartCosts:
    """Of what ran inside `watch`."""

    seconds: dict[str, float] = field(default_factory=dict)
    kept_bytes: dict[str, int] = field(default_factory=dict)
    """Of different storages that autograd saved; parameters do not count, nor do the inputs of
    layers under gradient checkpointing, which torch holds by other means."""


@contextmanager
def watch(detector: nn.Module, settle: Callable[[], None]) -> Iterator[PartCosts]:
    """Measure the parts' forward passes; `settle` waits for a device."""
    costs = PartCosts()
    running: list[tuple[str, float]] = []
    seen = {parameter.untyped_storage().data_ptr() for parameter in detector.parameters()}

    def begin(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            settle()
            running.append((name, time.perf_counter()))

        return hook

    def end(*_: Any) -> None:
        settle()
        name, start = running.pop()
        costs.seconds[name] = costs.seconds.get(name, 0.0) + time.perf_counter() - start

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            name = running[-1][0] if running else OTHER
            costs.kept_bytes[name] = costs.kept_bytes.get(name, 0) + storage.nbytes()
        return tensor

    with ExitStack() as stack:
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept))
        for path in (*_CHILDREN, *_T5):
            part = detector.get_submodule(path)
            stack.callback(part.register_forward_pre_hook(begin(path.split(".")[0])).remove)
            stack.callback(part.register_forward_hook(end).remove)
        yield costs
