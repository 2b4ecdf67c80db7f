"""Names from the nearest prototypes: no list is given, and no text encoder is asked.

N objects, M prototypes, K their distinct names, D the detector's width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from opendet.model.naming import Objects, ScoredName, most_likely
from opendet.model.prototype_head import PrototypeHead

NAMES = 3
"""As many as are said of an object where nobody asks for a number."""


class PrototypeNamer:
    """A prototype's name, as likely as its weight in the mixture that the head reads a query as;
    prototypes of one name are likely together (spec/deco_detr.md B.4)."""

    def __init__(
        self, head: PrototypeHead, *, only: Sequence[str] = (), temperature: float | None = None
    ) -> None:
        """`only`: the names that are meant, all where it is empty; their prototypes then share
        what is likely. `temperature` divides the cosines instead of the head's own. Raises
        ValueError, in one line, where the pool lacks one of them."""
        self._head = head
        self._sharper = head.config.temperature / temperature if temperature else 1.0
        self.names = tuple(dict.fromkeys(only or head.names))
        """K"""
        _require_known(self.names, head.names)
        places = {name: place for place, name in enumerate(self.names)}
        kept = [(row, places[name]) for row, name in enumerate(head.names) if name in places]
        self._rows = torch.tensor([row for row, _ in kept])  # prototypes that are meant
        self._places = torch.tensor([place for _, place in kept])  # whose name each of them has

    @torch.no_grad()
    def name_objects(self, objects: Objects, *, count: int | None = None) -> list[list[ScoredName]]:
        """As every namer does."""
        if not len(objects):
            return []
        weights = self._head(self._head.read(objects)).log_weights
        return most_likely(self.names, self._merged(weights), count or NAMES)

    def _merged(self, log_weights: Tensor) -> Tensor:
        """(N, M) of prototypes -> (N, K) of names, each row's exponentials adding up to 1."""
        rows, places = self._rows.to(log_weights.device), self._places.to(log_weights.device)
        shares = (log_weights[:, rows].double() * self._sharper).softmax(dim=1)
        merged = shares.new_zeros(len(shares), len(self.names)).index_add_(1, places, shares)
        return merged.log()


def _require_known(names: Sequence[str], known: Sequence[str]) -> None:
    there = set(known)
    if absent := [name for name in names if name not in there]:
        raise ValueError(
            f"names: the pool has no prototype of {', '.join(map(repr, absent[:3]))} "
            f"({len(absent)} of {len(names)} are missing): take namer vocabulary, which needs no "
            "prototype of a name, or leave them out"
        )
