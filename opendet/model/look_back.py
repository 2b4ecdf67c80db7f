"""A language model's text looks back at the region that it speaks of (LLMDet, spec/llmdet.md C.2).

Some of the model's layers read the encoder's maps by deformable attention around the region's box,
before they do their own work. At the start they add exactly nothing.
N regions of B images, n the most of one image, T places of a text, H the language model's width,
D the detector's.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from opendet.model.deformable_attention import DeformableAttention
from opendet.model.distiller import places_in_image
from opendet.model.features import FeatureTokens


@dataclass(frozen=True, slots=True)
class View:
    """The regions that the texts of a batch speak of, one each."""

    memory: FeatureTokens
    """(B, S, D)"""
    places: Tensor
    """(N,) the image of each region."""
    boxes_cxcywh: Tensor
    """(N, 4) in [0, 1] of the unpadded image; no gradient goes into them."""


class LookBack(nn.Module):
    """x + W_H attention(W_D norm(x), box, memory), W_H zero at the start."""

    def __init__(
        self, language_width: int, width: int, *, heads: int, levels: int, points: int
    ) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(language_width)
        self.narrow = nn.Linear(language_width, width)
        self.attention = DeformableAttention(width, heads=heads, levels=levels, points=points)
        self.widen = nn.Linear(width, language_width)
        nn.init.zeros_(self.widen.weight)
        nn.init.zeros_(self.widen.bias)

    def forward(self, hidden: Tensor, view: View) -> Tensor:
        """(N, T, H) -> (N, T, H)"""
        queries = self.narrow(self.norm(hidden.float()))  # (N, T, D)
        images, length = len(view.memory.tokens), hidden.shape[1]
        slots = places_in_image(view.places, images)
        most = int(slots.max()) + 1
        grouped = queries.new_zeros(images, most, length, queries.shape[-1])
        grouped[view.places, slots] = queries
        boxes = view.boxes_cxcywh.detach().float()
        references = boxes.new_full((images, most, length, 4), 0.5)
        references[view.places, slots] = boxes[:, None]
        read = self.attention(grouped.flatten(1, 2), references.flatten(1, 2), view.memory)
        own = read.unflatten(1, (most, length))[view.places, slots]  # (N, T, D)
        seen: Tensor = hidden + self.widen(own).to(hidden)
        return seen


def spread(layers: Sequence[nn.Module], count: int) -> list[nn.Module]:
    """So many of the layers, evenly spaced, the first among them.

    Raises ValueError where there are not so many.
    """
    if count > len(layers):
        raise ValueError(f"{count} layers are to look back, and it has {len(layers)}")
    return [layers[number * len(layers) // count] for number in range(count)]


@contextmanager
def looking_back(
    layers: Sequence[nn.Module], look_backs: Iterable[nn.Module], view: View
) -> Iterator[None]:
    """In the block, each of the layers looks at the view before it does its work."""
    with ExitStack() as stack:
        for layer, look_back in zip(layers, look_backs, strict=True):
            hook = partial(_look, look_back, view)
            stack.callback(layer.register_forward_pre_hook(hook, with_kwargs=True).remove)
        yield


def _look(
    look_back: nn.Module, view: View, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    hidden, *others = args
    return (look_back(hidden, view), *others), kwargs
