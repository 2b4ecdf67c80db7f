"""A linear layer for many tokens: on several CPU threads oneDNN's 1x1 convolution makes the same
sums in half the time of the matrix product (docs/log.md)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

FEW_ROWS = 256
"""Below this many tokens the matrix product is as fast."""


class TokenLinear(nn.Linear):
    """nn.Linear with the same weights, names and results (to rounding)."""

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        if not _gains(tokens):
            return super().forward(tokens)
        rows = tokens.reshape(1, -1, 1, self.in_features).permute(0, 3, 1, 2)  # channels last
        product = functional.conv2d(rows, self.weight[..., None, None], self.bias)
        return product.permute(0, 2, 3, 1).reshape(*tokens.shape[:-1], self.out_features)


def use_token_linears(model: nn.Module) -> None:
    """Make each nn.Linear of another library's model a TokenLinear, in place."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = TokenLinear  # its parameters, hooks and names stay


def _gains(tokens: Tensor) -> bool:
    """Whether the convolution is the faster way; an exporter's graph keeps its matrix products."""
    many = tokens.numel() >= FEW_ROWS * tokens.shape[-1]
    threads = tokens.device.type == "cpu" and torch.get_num_threads() > 1
    return (
        many and threads and not (torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export())
    )
