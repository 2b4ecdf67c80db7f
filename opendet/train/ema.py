"""The running average of the weights: what is exported in the end."""

import torch
from torch import Tensor, nn

from opendet.train.weights import own_tensors


class Ema:
    """A float32 copy of a model's tensors that follows them slowly.

    The decay rises with the steps, (1 + step) / (10 + step), until it reaches its own value:
    otherwise a short run would end with an average of its random start.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors: dict[str, Tensor] = {
            name: tensor.detach().clone() for name, tensor in own_tensors(model).items()
        }

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model's tensors after a step counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        exact = _not_averaged(model)
        for name, tensor in own_tensors(model).items():
            if tensor.is_floating_point() and name not in exact:
                self.tensors[name].lerp_(tensor, 1 - decay)
            else:
                self.tensors[name].copy_(tensor)


def _not_averaged(model: nn.Module) -> set[str]:
    """Buffers that are averages themselves, or unit vectors: a module names them, where it has any,
    as `NOT_AVERAGED`."""
    return {
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        for name in getattr(module, "NOT_AVERAGED", ())
    }
