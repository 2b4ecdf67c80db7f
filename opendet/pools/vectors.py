"""Vectors from NumPy files: published text vectors, or images' vectors with their names."""

# N vectors, D width

import zlib
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_DAMAGED = (
    *(ValueError, OSError, EOFError, SyntaxError),
    *(TokenError, BadZipFile, NotImplementedError, zlib.error),
)
"""What NumPy raises for bytes that are no arrays: it parses headers as Python and unpacks zips."""


@dataclass(frozen=True, slots=True)
class FileVectors:
    """The vectors of a file, as they lie there."""

    rows: Floats
    """(N, D)"""
    names: tuple[str, ...] | None
    """N names, where the file brings some."""


def read_vector_file(path: Path) -> FileVectors:
    """A `.npy` of one matrix, or a `.npz` of one matrix of floats and perhaps one list of names.

    Raises ValueError, in one line, for another file.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else {"": loaded}
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing") from error
    except _DAMAGED as error:
        said = " ".join(str(error).split())
        raise ValueError(f"{path} is no NumPy file of numbers ({said})") from error
    matrices = [one for one in arrays.values() if one.ndim == 2 and one.dtype.kind == "f"]
    lists = [one for one in arrays.values() if one.ndim == 1 and one.dtype.kind == "U"]
    if len(matrices) != 1:
        raise ValueError(
            f"{path} holds {len(matrices)} matrices of floats: save one, a row for each name"
        )
    if not matrices[0].size:
        raise ValueError(f"{path} holds an empty matrix: save a row for each name")
    names = tuple(map(str, lists[0])) if len(lists) == 1 else None
    if names is not None and len(names) != len(matrices[0]):
        raise ValueError(f"{path} holds {len(names)} names for {len(matrices[0])} vectors")
    return FileVectors(matrices[0], names)


def scaled_rows(rows: Floats) -> NDArray[np.float32]:
    """(N, D) the same directions, each row's largest number in [0.5, 1); rows that are zero or not
    finite stay so.

    A file may hold any scale, a pool's float16 does not: it ends at 65504 and is coarse below
    0.0001. A factor that is a power of two rounds nothing.
    """
    _, exponents = np.frexp(np.abs(rows).max(axis=1, initial=0))
    with np.errstate(over="ignore", invalid="ignore"):
        scaled: NDArray[np.float32] = np.ldexp(rows, -exponents[:, None]).astype(np.float32)
    return scaled


def unit_rows(rows: Floats, *, where: str) -> Floats:
    """(N, D) float32 unit rows. Raises ValueError, naming the first, for rows that are zero or not
    finite."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)))
    if len(bad):
        raise ValueError(
            f"{where}: {len(bad)} of {len(rows)} vectors are zero or not finite, the first in row "
            f"{bad[0]}: make them anew"
        )
    units: Floats = (rows / lengths).astype(np.float32)
    return units


def require_width(rows: Floats, width: int, *, where: str) -> None:
    """Raises ValueError where rows and a pool cannot be compared."""
    if rows.shape[1] != width:
        raise ValueError(
            f"{where} has vectors of width {rows.shape[1]} and the pool's are {width} wide: take "
            "vectors of the CLIP that the pool was made with"
        )
