"""Gradient clipping that keeps what is isolated isolated."""

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_


def clip_gradients(model: nn.Module, most: float) -> Tensor:
    """Scale the gradients down to a norm of `most`; the norm of all before, a scalar.

    A module that says of itself that it is `clipped_apart` is held to its own norm: one norm of all
    would let its gradients shorten the others' steps.
    """
    apart = [one for one in model.modules() if getattr(one, "clipped_apart", False)]
    alone = {id(parameter) for one in apart for parameter in one.parameters()}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in alone]
    norms = [clip_grad_norm_(own, most) for own in (rest, *(list(m.parameters()) for m in apart))]
    # where nothing has a gradient torch says a zero of the CPU
    device = next(model.parameters()).device
    whole: Tensor = torch.linalg.vector_norm(torch.stack([norm.to(device) for norm in norms]))
    return whole
