"""Vectors in a file that each worker opens for itself: float16 rows, one after the other."""

# N vectors, D width

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opendet.curate.unit_products import Floats, Rows, as_units


@dataclass(frozen=True, slots=True)
class VectorFile:
    """N vectors, none of them zero or not finite."""

    path: Path
    rows: int
    width: int

    def read(self, rows: Rows) -> Floats:
        """(n, D) unit vectors at these places."""
        return as_units(self._mapped()[rows])

    def _mapped(self) -> NDArray[np.float16]:
        return np.memmap(self.path, np.float16, "r", shape=(self.rows, self.width))


@dataclass(frozen=True, slots=True)
class Usable:
    """Which of some vectors a clustering can use."""

    rows: NDArray[np.intp]
    not_finite: int
    zero: int


def usable(vectors: NDArray[Any]) -> Usable:
    """Of (n, D) vectors those that have a direction, in float16 too."""
    halves = vectors.astype(np.float16)
    finite = np.asarray(np.isfinite(halves).all(axis=1))
    directed = np.asarray((halves != 0).any(axis=1))
    zero = finite & ~directed
    return Usable(np.flatnonzero(finite & directed), int((~finite).sum()), int(zero.sum()))
