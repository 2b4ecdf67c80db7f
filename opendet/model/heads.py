"""What reads a query: is it an object, and where is its box."""

import math
from itertools import pairwise

from torch import Tensor, nn

OBJECT_PRIOR = 0.01
"""The probability that an untrained head gives: focal loss starts stable (Lin et al. 2017)."""


class Perceptron(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.layers(inputs)
        return output


def build_object_head(width: int) -> nn.Linear:
    """(..., width) -> (..., 1) the logit that this is an object."""
    head = nn.Linear(width, 1)
    nn.init.constant_(head.bias, -math.log((1 - OBJECT_PRIOR) / OBJECT_PRIOR))
    return head


def build_box_head(width: int) -> Perceptron:
    """(..., width) -> (..., 4) a change of the reference box's logits, at first zero."""
    head = Perceptron(width, width, width, 4)
    last = head.layers[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return head
