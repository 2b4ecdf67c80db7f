"""Whether two sides tell of the same things in one CLIP's space, which no vector knows by name."""

# S things that both sides know, D width

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

TRUSTED = 10
"""Things that both sides must know before their places say anything."""
ROUNDING = 1e-6
"""Of a mean of cosines of float32 vectors."""


@dataclass(frozen=True, slots=True)
class Nearness:
    """Mean cosines of things on one side with those on the other."""

    own: float
    """Each with itself."""
    others: float
    """Each with all the others."""

    def agrees(self, least: float) -> bool:
        """Whether the own cosine has gone that share of the way from the others' to 1. Between two
        spaces it goes about none of it; things in one place have none to go, and agree."""
        return self.own - self.others >= least * (1 - self.others) - ROUNDING


def nearness(rows: Floats, others: Floats) -> Nearness:
    """Of (S, D) unit rows and the same S things' others, in one order; S is 2 or more."""
    count = len(rows)
    own = float(np.einsum("sd,sd->", rows, others, dtype=np.float64))
    every = float(rows.sum(axis=0, dtype=np.float64) @ others.sum(axis=0, dtype=np.float64))
    return Nearness(own / count, (every - own) / (count * (count - 1)))
