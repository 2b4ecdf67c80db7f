"""Products of unit vectors: the one place where a CPU and a GPU differ.

On a CPU it is NumPy's, which is faster than torch's there and needs no torch; a call is one
thread's where the caller limits BLAS to one, and then hangs on its arguments alone.
"""

# n vectors of a chunk, D width, K centres

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Bools = NDArray[np.bool_]

BLOCK = 4096
"""Vectors that are compared with all centres at once."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """What became of the vectors of one chunk."""

    labels: NDArray[np.int32]
    """(n,) nearest centres; the first of equals."""
    cosines: Floats
    """(n,) with those."""
    sums: Floats
    """(K, D) of each centre's vectors."""


def as_units(vectors: NDArray[Any]) -> Floats:
    """(n, D) vectors, none of them zero -> unit rows."""
    rows = vectors.astype(np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    rows /= lengths[:, None]
    return rows


def assign(unit: Floats, centres: Floats, device: str = "cpu") -> Assigned:
    """Find the nearest of (K, D) centres for (n, D) unit vectors, and add up each one's."""
    if device != "cpu":
        return _assign_on_gpu(unit, centres, device)
    from scipy.sparse import csc_array

    labels = np.empty(len(unit), np.int32)
    cosines = np.empty(len(unit), np.float32)
    sums = np.zeros(centres.shape, np.float32)
    for start in range(0, len(unit), BLOCK):
        block = unit[start : start + BLOCK]
        every = np.arange(len(block))
        scores = block @ centres.T  # (b, K)
        nearest = scores.argmax(axis=1)
        labels[start : start + BLOCK] = nearest
        cosines[start : start + BLOCK] = scores[every, nearest]
        ones = np.ones(len(block), np.float32)
        belongs = csc_array(
            (ones, nearest, np.arange(len(block) + 1)), shape=(len(centres), len(block))
        )
        sums += belongs @ block
    return Assigned(labels, cosines, sums)


def cosines(unit: Floats, others: Floats, device: str = "cpu") -> Floats:
    """(n, m) of unit vectors, (n, D) and (m, D)."""
    if device != "cpu":
        return np.asarray((_on_gpu(unit, device) @ _on_gpu(others, device).T).cpu().numpy())
    return np.asarray(unit @ others.T)


def near(unit: Floats, others: Floats, cosine: float, device: str = "cpu") -> Bools:
    """(n, m): whether the cosine of two unit vectors, (n, D) and (m, D), is at least that."""
    if device != "cpu":
        found = _on_gpu(unit, device) @ _on_gpu(others, device).T >= cosine
        return np.asarray(found.cpu().numpy(), bool)
    return np.asarray(unit @ others.T >= np.float32(cosine))


def _assign_on_gpu(unit: Floats, centres: Floats, device: str) -> Assigned:
    import torch

    rows, middles = _on_gpu(unit, device), _on_gpu(centres, device)
    cosines, labels = (rows @ middles.T).max(dim=1)
    # A sum by atomic additions would differ from run to run; a product does not.
    belongs = labels == torch.arange(len(middles), device=device)[:, None]  # (K, n)
    sums = belongs.float() @ rows
    return Assigned(
        labels.cpu().numpy().astype(np.int32), cosines.cpu().numpy(), sums.cpu().numpy()
    )


def _on_gpu(rows: Floats, device: str) -> "torch.Tensor":
    import torch

    return torch.from_numpy(rows).to(device)
