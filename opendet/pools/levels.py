"""A pool to look into, and what of it belongs to one of its two levels."""

# K coarse and P fine prototypes, D width

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opendet.curate.pool import Level, Pool, Prototype, read_pool
from opendet.pools.vectors import unit_rows

LEVELS: tuple[Level, ...] = ("coarse", "fine")


def read_sound_pool(folder: Path) -> Pool:
    """A pool whose rows can be compared. Raises ValueError, in one line, where the folder holds
    none, and where a row is zero or not finite."""
    pool = read_pool(folder)
    if not len(pool.coarse):
        raise ValueError(f"{folder} holds a pool without prototypes: build prototypes again")
    for level in LEVELS:
        unit_rows(vectors_of(pool, level), where=f"{folder}: {level} prototypes")
    return pool


def vectors_of(pool: Pool, level: Level) -> NDArray[np.floating[Any]]:
    """(K, D) or (P, D)"""
    return pool.coarse if level == "coarse" else pool.fine


def of_level(pool: Pool, level: Level) -> list[Prototype]:
    """In the order of the vectors' rows."""
    return [one for one in pool.prototypes if one.level == level]


def finer_level(pool: Pool) -> Level:
    """The fine one, where the pool has any fine prototype."""
    return "fine" if len(pool.fine) else "coarse"
