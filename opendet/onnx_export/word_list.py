"""Names and their text vectors from the file of `opendet vocabulary`, without torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opendet.model.vocabulary_file import read_vocabulary_file, rows_of


@dataclass(frozen=True)
class WordList:
    """K names and what stands for them."""

    names: tuple[str, ...]
    vectors: NDArray[np.float32]
    """(K, D_t) unit rows."""
    tower: str
    """Revision of the text tower."""

    def only(self, names: Sequence[str]) -> "WordList":
        """Those that are meant, in their order; all where `names` is empty. Raises ValueError, in
        one line, where one is missing."""
        if not names:
            return self
        rows = rows_of(names, self.names)
        wanted = tuple(self.names[row] for row in rows)
        return replace(self, names=wanted, vectors=self.vectors[rows])


def read_word_list(path: Path) -> WordList:
    """Raises ValueError, in one line, for a file that is no whole vocabulary."""
    told, vectors = read_vocabulary_file(path)
    return WordList(told.names, vectors, told.tower)
