"""Small pools whose every number can be worked by hand: unit vectors along the axes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from opendet.curate.pool import (
    Level,
    Member,
    Pool,
    PoolHealth,
    Prototype,
    write_pool,
)


@dataclass(frozen=True)
class Spot:
    """A fine prototype: its name, its members' names, and where it lies."""

    name: str
    members: tuple[str, ...]
    at: Sequence[float]
    parent: int = 0


def unit(rows: Sequence[Sequence[float]]) -> np.ndarray:
    array = np.asarray(rows, np.float32).reshape(len(rows), -1)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def pool_of(spots: Sequence[Spot], *, noise: Sequence[tuple[str, int]] = ()) -> Pool:
    """Coarse prototypes are the means of their fine ones, and bear the name of the first."""
    parents = sorted({spot.parent for spot in spots})
    fine = unit([spot.at for spot in spots])
    coarse = unit([fine[[s.parent == one for s in spots]].mean(axis=0) for one in parents])
    firsts = [next(spot for spot in spots if spot.parent == one) for one in parents]
    families = [spot.parent for spot in spots for _ in spot.members] + [one for _, one in noise]
    in_coarse = [families.count(one) for one in parents]
    names = {name for spot in spots for name in spot.members} | {name for name, _ in noise}
    vectors = len(families)
    return Pool(
        coarse,
        fine,
        (
            *(_prototype("coarse", i, -1, in_coarse[i], one.name) for i, one in enumerate(firsts)),
            *(
                _prototype("fine", i, one.parent, len(one.members), one.name)
                for i, one in enumerate(spots)
            ),
        ),
        PoolHealth(
            vectors=vectors,
            left_out_not_finite=0,
            left_out_zero=0,
            coarse_asked=len(parents),
            coarse=len(parents),
            fine_asked=None,
            fine_found=len(spots),
            fine=len(spots),
            eps=0.1,
            eps_rounds=0,
            noise_share=len(noise) / vectors,
            cut_share=0.0,
            names=len(names),
            names_covered=len({spot.name for spot in spots}),
            mean_pairwise_cosine=None,
            nearest_name_accuracy=1.0,
        ),
    )


def write(
    folder: Path,
    spots: Sequence[Spot],
    *,
    noise: Sequence[tuple[str, int]] = (),
    keys: Sequence[str] | None = None,
) -> Pool:
    """The pool and its assignments, members in the order of the spots, then the noise."""
    pool = pool_of(spots, noise=noise)
    rows = [(name, spot.parent, row) for row, spot in enumerate(spots) for name in spot.members]
    rows += [(name, parent, -1) for name, parent in noise]
    names, coarse, fine = zip(*rows, strict=True)
    columns = {
        "key": pa.array(keys or [f"image-{row:03d}" for row in range(len(rows))]),
        "region": pa.array([0] * len(rows), pa.int32()),
        "name": pa.array(names).dictionary_encode(),
        "coarse": pa.array(coarse, pa.int32()),
        "fine": pa.array(fine, pa.int32()),
    }
    write_pool(folder, replace(pool, assignments=pa.table(columns)))
    return pool


def _prototype(level: Level, index: int, parent: int, size: int, name: str) -> Prototype:
    return Prototype(level, index, parent, size, Member(f"heart of {name}", 0, name, f"a {name}"))


CAT = Spot("cat", ("cat", "cat", "Cats"), (1, 0, 0, 0))
KITTEN = Spot("kitten", ("kitten", "cat"), (0.95, 0.3, 0, 0))
DOG = Spot("dog", ("dog",) * 4, (0, 0, 1, 0), parent=1)
BOOT = Spot("boot", ("boot", "dog"), (0, 0, 0, 1), parent=1)
SPOTS = (CAT, KITTEN, DOG, BOOT)
"""11 members: cat, cat, Cats, kitten, cat | dog x 4, boot, dog."""
