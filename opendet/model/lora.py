"""Low-rank adaptation (LoRA, arXiv:2106.09685): a frozen matrix and a small trained correction.

The name generator's head is one (spec/open_det.md A.2), and any linear layer can become one for
fine-tuning that need not forget. The base is kept under the name `base`, which nothing ties.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class LoraLinear(nn.Module):
    """y = x W^T + b + (alpha / rank) x A^T B^T, with W and b frozen; rank 0 is a plain trained W.

    At the start B is zero, so that the layer is the one it was made from. A comes from the seed;
    the caller's random state stays as it was.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        rank: int,
        alpha: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        plain = rank == 0
        self.base = nn.Parameter(weight.detach().clone(), requires_grad=plain)  # W (out, in)
        self.bias = None
        if bias is not None:
            self.bias = nn.Parameter(bias.detach().clone(), requires_grad=plain)  # b (out,)
        self.rank = rank
        if rank:
            out_width, in_width = weight.shape
            self.strength = alpha / rank
            down = torch.empty(rank, in_width)
            generator = torch.Generator().manual_seed(seed)
            nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=generator)
            self.lora_a = nn.Parameter(down.to(weight))  # A (rank, in)
            self.lora_b = nn.Parameter(weight.new_zeros(out_width, rank))  # B (out, rank)

    @classmethod
    def of(cls, linear: nn.Linear, *, rank: int, alpha: float, seed: int = 0) -> "LoraLinear":
        """The layer with an adapter; its weights are copied."""
        return cls(linear.weight, linear.bias, rank=rank, alpha=alpha, seed=seed)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = functional.linear(inputs, self.base, self.bias)
        return outputs + self.correction(inputs) if self.rank else outputs

    def correction(self, inputs: Tensor) -> Tensor:
        """What the adapter adds, (..., in) -> (..., out)."""
        return functional.linear(
            self.strength * functional.linear(inputs, self.lora_a), self.lora_b
        )

    def matrix(self) -> Tensor:
        """W + (alpha / rank) B A, the one matrix (out, in) that gives the same outputs."""
        return self.base + self.strength * self.lora_b @ self.lora_a if self.rank else self.base

    @torch.no_grad()
    def unfreeze(self) -> None:
        """From here on the base is trained; the adapter, added to it, is zero and is not.

        The tensors keep their names and shapes, so that checkpoints of before and after load alike,
        and A stays, so that an average over steps of base, A and B is one of their sums.
        """
        if self.rank:
            self.base.copy_(self.matrix())
            self.lora_b.zero_()
            self.lora_a.requires_grad_(False).grad = None
            self.lora_b.requires_grad_(False).grad = None
        self.base.requires_grad_()
        if self.bias is not None:
            self.bias.requires_grad_()

    def merge(self) -> None:
        """Become a layer of rank 0 that gives the same outputs."""
        self.unfreeze()
        if self.rank:
            del self.lora_a, self.lora_b
        self.rank = 0

    def merged(self) -> nn.Linear:
        """An ordinary linear layer, a copy, that gives the same outputs."""
        out_width, in_width = self.base.shape
        linear = nn.Linear(in_width, out_width, bias=self.bias is not None, device="meta")
        linear.weight = nn.Parameter(self.matrix().detach().clone())
        if self.bias is not None:
            linear.bias = nn.Parameter(self.bias.detach().clone())
        return linear
