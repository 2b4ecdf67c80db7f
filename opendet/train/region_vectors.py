"""The CLIP vectors of the build's crops, by region: looked up in a file that is never read whole.

N regions, R rows of the file, D_c the width of the CLIP.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from opendet.data.batch import RegionRef
from opendet.train.region_store import MARKS, PLACES, ROWS, kept_vectors, marks_of


class RegionVectors:
    """A unit vector for each region that the stage `embed` has seen."""

    def __init__(
        self,
        marks: NDArray[np.uint64],
        places: NDArray[np.int64],
        rows: NDArray[np.float16],
        left_out: Mapping[str, int] | None = None,
    ) -> None:
        self._marks, self._places, self._rows = marks, places, rows
        self.left_out = dict(left_out or {})
        """Reason -> regions whose vector is of no use."""

    @classmethod
    def open(cls, embed_folder: Path, kept_in: Path) -> "RegionVectors":
        """Of the stage `embed`; its parts become three files in the folder `kept_in` first, unless
        those are there. With several ranks the leader comes first.

        Raises ValueError, in one line, where there are no vectors, or of two widths.
        """
        kept = kept_vectors(embed_folder, kept_in)
        marks, places, rows = (
            np.load(kept_in / name, mmap_mode="r") for name in (MARKS, PLACES, ROWS)
        )
        return cls(marks, places, rows, kept.left_out)

    @property
    def width(self) -> int:
        return int(self._rows.shape[1])

    def __len__(self) -> int:
        return len(self._marks)

    def of(self, refs: Sequence[RegionRef]) -> tuple[Tensor, Tensor]:
        """(N, D_c) fp32 unit rows and (N,) whether a region has one; zeros where it has none."""
        asked = marks_of(refs)
        found = np.searchsorted(self._marks, asked)
        within = np.minimum(found, max(len(self._marks) - 1, 0))
        known = np.asarray(self._marks[within] == asked if len(self) else np.zeros(len(refs), bool))
        vectors = torch.zeros(len(refs), self.width)
        if known.any():
            own = self._rows[self._places[within[known]]]
            vectors[torch.from_numpy(known)] = torch.from_numpy(own.astype(np.float32))
        return functional.normalize(vectors, dim=1), torch.from_numpy(known)
