"""Names and their text vectors from the file of `opendet vocabulary`, without torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from opendet.section import Section

NOTE = "vocabulary"
"""The file's note, as `opendet.model.vocabulary` writes it."""


class _Told(Section):
    names: tuple[str, ...]
    tower: str
    template: str


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
        rows = {name: row for row, name in enumerate(self.names)}
        if absent := [name for name in names if name not in rows]:
            raise ValueError(
                f"names: the vocabulary lacks {', '.join(map(repr, absent[:3]))} ({len(absent)} of "
                f"{len(names)}): write it anew with `opendet vocabulary`"
            )
        wanted = tuple(dict.fromkeys(names))
        return replace(self, names=wanted, vectors=self.vectors[[rows[name] for name in wanted]])


def read_word_list(path: Path) -> WordList:
    """Raises ValueError, in one line, for a file that is no whole vocabulary."""
    if not path.is_file():
        raise ValueError(f"there is no vocabulary {path}: write it with `opendet vocabulary`")
    try:
        with safe_open(path, framework="np") as file:
            told = _Told.model_validate_json((file.metadata() or {})[NOTE])
            vectors = file.get_tensor("vectors").astype(np.float32)
        if not told.names or vectors.shape != (len(told.names), vectors.shape[-1]):
            raise ValueError(f"{len(told.names)} names have vectors of shape {vectors.shape}")
    except (SafetensorError, OSError, LookupError, ValueError) as error:
        reason = " ".join(str(error).split())[:150]
        raise ValueError(
            f"{path} is no vocabulary ({reason}): write it with `opendet vocabulary`"
        ) from error
    return WordList(told.names, vectors, told.tower)
