"""Vectors that look like CLIP's, as many as are wanted, in a file.

All of them share a direction, so that two of different things have a cosine of about a half; things
are of very different frequency; and pictures of one thing are more alike or less.
"""

# N vectors, D width, T things

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opendet.curate.unit_products import as_units
from opendet.curate.vector_file import VectorFile

CHUNK = 50_000
SHARED = 0.5
"""Cosine of two things."""
SPREAD, SPREAD_OF_SPREADS = 0.35, 0.25
"""Length of what a picture adds to its thing's unit vector: its median, and the deviation of its
logarithm. At 0.35 two pictures of a thing have a cosine of 0.89."""
RANKS_ALIKE = 50
"""The frequency of the thing of rank r goes as 1 / (r + this)."""


def write_vectors(path: Path, count: int, *, width: int, things: int, seed: int) -> VectorFile:
    """N vectors of D; a count's vectors begin with those of any smaller count, chunk by chunk."""
    middles = _things(things, width, seed)
    frequency = 1 / (np.arange(things) + RANKS_ALIKE)
    with path.open("wb") as file:
        for number, start in enumerate(range(0, count, CHUNK)):
            rng = np.random.default_rng((seed, number))
            shown = rng.choice(things, CHUNK, p=frequency / frequency.sum())
            lengths = np.exp(rng.normal(np.log(SPREAD), SPREAD_OF_SPREADS, CHUNK)) / width**0.5
            rows = rng.standard_normal((CHUNK, width), dtype=np.float32)
            rows *= lengths.astype(np.float32)[:, None]
            rows += middles[shown]
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            file.write(rows[: count - start].astype(np.float16).tobytes())
    return VectorFile(path, count, width)


def _things(things: int, width: int, seed: int) -> NDArray[np.float32]:
    """(T, D) unit vectors that share a direction."""
    rng = np.random.default_rng((seed, 0, 1))
    drawn = rng.standard_normal((things + 1, width))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    middles = SHARED**0.5 * drawn[:1] + (1 - SHARED) ** 0.5 * drawn[1:]
    return as_units(middles)
