"""Prototypes first, and the T5 for what they are unsure of: its time is spent where it is needed.

N objects.
"""

import torch

from opendet.model.naming import Namer, Objects, ScoredName


class CascadeNamer:
    """Asks one namer after the other."""

    def __init__(self, first: Namer, then: Namer, *, unsure_below: float) -> None:
        """`unsure_below`: names of the first that are at most so likely are left to the other."""
        self._first = first
        self._then = then
        self._unsure_below = unsure_below

    @torch.no_grad()
    def name_objects(self, objects: Objects, *, count: int | None = None) -> list[list[ScoredName]]:
        """As every namer does. All names of an object are of one of the two."""
        said = self._first.name_objects(objects, count=count)
        unsure = [place for place, names in enumerate(said) if not self._is_sure(names)]
        part = objects.part(torch.tensor(unsure, dtype=torch.int64, device=objects.queries.device))
        for place, names in zip(
            unsure, self._then.name_objects(part, count=count) if unsure else [], strict=True
        ):
            said[place] = names
        return said

    def _is_sure(self, names: list[ScoredName]) -> bool:
        return bool(names) and names[0].probability > self._unsure_below
