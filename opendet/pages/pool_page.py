"""The page of a build's pool: its picture, its health, and each prototype with its neighbours."""

# P prototypes, D width

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from opendet.curate.pool import Pool, Prototype
from opendet.inspect.collection import Collection
from opendet.pages.entry import said
from opendet.pages.overview import gallery
from opendet.pools.levels import LEVELS, finer_level, of_level, read_sound_pool, vectors_of

MOST = 1500
"""Prototypes that are listed, the largest of the finer level."""
_NEIGHBOURS = 4


@dataclass(frozen=True, slots=True)
class Neighbour:
    name: str
    cosine: str
    link: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A prototype in words."""

    name: str
    link: str
    """The gallery of its name."""
    family: str
    """Name of its coarse prototype; empty for a coarse one."""
    size: int
    purity: str
    text: str
    medoid: str
    """Key of the sample whose region is its middle."""
    medoid_link: str
    neighbours: tuple[Neighbour, ...]


def pool_folder(collection: Collection) -> Path | None:
    """Where the build has its pool; None where there is none."""
    folder = collection.build_folder / "prototypes" if collection.build_folder else None
    return folder if folder and (folder / "pool.safetensors").is_file() else None


def pool_context(folder: Path) -> dict[str, Any]:
    """What the page shows. Raises ValueError, in one line, for a pool that is damaged."""
    from opendet.evaluation.report_pool import pool_picture
    from opendet.pools.figures import figures
    from opendet.pools.health import read_measures

    pool = read_sound_pool(folder)
    return {
        "picture": pool_picture(pool.prototypes, {one: vectors_of(pool, one) for one in LEVELS}),
        "figures": figures(pool.health, read_measures(folder, pool)),
        "health": pool.health,
        "prototypes": listed(pool),
        "level": finer_level(pool),
        "of": len(of_level(pool, finer_level(pool))),
    }


def listed(pool: Pool) -> list[Listed]:
    """The largest of the finer level, with the prototypes of that level that are most like each."""
    level = finer_level(pool)
    every = of_level(pool, level)
    largest = sorted(every, key=lambda one: (-one.size, one.index))[:MOST]
    rows = vectors_of(pool, level)[[one.index for one in largest]]  # (P, D)
    families = {one.index: one.medoid.name for one in of_level(pool, "coarse")}
    cosines = rows @ rows.T  # (P, P)
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : min(_NEIGHBOURS, len(rows) - 1)]
    return [
        _listed(one, families, [(largest[to], float(cosines[place, to])) for to in nearest[place]])
        for place, one in enumerate(largest)
    ]


def _listed(
    one: Prototype, families: dict[int, str], nearest: list[tuple[Prototype, float]]
) -> Listed:
    name = said(one.medoid.name, 200)
    return Listed(
        name=name,
        link=gallery(name=name),
        family=said(families.get(one.parent, ""), 200),
        size=one.size,
        purity=f"{one.purity:.0%}",
        text=said(one.medoid.text, 300),
        medoid=said(one.medoid.key, 200),
        medoid_link=gallery(sample=said(one.medoid.key, 200)),
        neighbours=tuple(_neighbour(other, cosine) for other, cosine in nearest),
    )


def _neighbour(other: Prototype, cosine: float) -> Neighbour:
    name = said(other.medoid.name, 200)
    return Neighbour(name, f"{cosine:.2f}", gallery(name=name))
