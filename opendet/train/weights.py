"""The tensors of a module by name, each of them once, and back.

T5 and friends share one tensor under several names. safetensors refuses such a state, and a strict
`load_state_dict` of the wrong alias overwrites the right one in silence.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The state of a module, still attached to it; of names that share a tensor only the first."""
    seen: set[int] = set()
    own: dict[str, Tensor] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            own[name] = tensor
    return own


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], *, what: str) -> None:
    """Copy `tensors` into the module. Raises ValueError if a name or a shape differs."""
    own = own_tensors(module)
    if odd := sorted(own.keys() ^ tensors.keys()):
        side = "lacks" if odd[0] in own else "has an unknown"
        raise ValueError(f"{what} {side} {odd[0]} ({len(odd)} names differ): it is another model")
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape:
            raise ValueError(
                f"{what} has {name} of shape {tuple(tensors[name].shape)}, the model wants "
                f"{tuple(tensor.shape)}: it is another model"
            )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
