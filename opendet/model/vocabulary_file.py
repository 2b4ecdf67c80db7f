"""What the file of a vocabulary holds, and whether it is whole; without torch.

A safetensors file: `vectors` (C, D_t), and in its header, as JSON under `vocabulary`, the names,
the tower's revision and the text that stood for a name. C names, D_t width of the tower's vectors.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from opendet.section import Section

NOTE = "vocabulary"


class Told(Section):
    """What the header says."""

    names: tuple[str, ...]
    tower: str
    template: str


def read_vocabulary_file(path: Path) -> tuple[Told, NDArray[np.float32]]:
    """The header and the (C, D_t) unit rows.

    Raises ValueError, in one line, for a file that is no whole vocabulary.
    """
    if not path.is_file():
        raise ValueError(f"there is no vocabulary {path}: write it with `opendet vocabulary`")
    try:
        with safe_open(path, framework="np") as file:
            told = Told.model_validate_json((file.metadata() or {})[NOTE])
            vectors = file.get_tensor("vectors").astype(np.float32)
        _require_whole(told.names, vectors)
    except (SafetensorError, OSError, LookupError, ValueError) as error:
        reason = " ".join(str(error).split())[:150]
        raise ValueError(
            f"{path} is no vocabulary ({reason}): write it with `opendet vocabulary`"
        ) from error
    return told, vectors


def rows_of(wanted: Sequence[str], names: Sequence[str]) -> list[int]:
    """Where the names that are meant stand, each once, in their order. Raises ValueError, in one
    line, where one is missing."""
    rows = {name: row for row, name in enumerate(names)}
    if absent := [name for name in wanted if name not in rows]:
        raise ValueError(
            f"names: the vocabulary lacks {', '.join(map(repr, absent[:3]))} ({len(absent)} of "
            f"{len(wanted)}): write it anew with `opendet vocabulary`"
        )
    return [rows[name] for name in dict.fromkeys(wanted)]


def _require_whole(names: Sequence[str], vectors: NDArray[np.float32]) -> None:
    if not names or not all(names):
        raise ValueError("a name is missing")
    if len(set(names)) < len(names):
        raise ValueError("a name is there twice")
    if vectors.shape != (len(names), vectors.shape[-1]):
        raise ValueError(f"{len(names)} names have vectors of shape {vectors.shape}")
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.allclose(lengths, 1, atol=0.01):
        raise ValueError("a row is no unit vector")
