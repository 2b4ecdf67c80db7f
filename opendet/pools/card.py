"""A pool's card: one page of what it is, what is good about it and what is not."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from opendet.curate.pool import Level, Pool, PoolHealth, Prototype
from opendet.files import sha256_of, write_durably, write_json_durably
from opendet.pools.assignments import Assignments, assignments_of, members_of, plain_names
from opendet.pools.figures import Figure, figures
from opendet.pools.health import PoolMeasures, read_measures
from opendet.pools.levels import LEVELS, finer_level, of_level, read_sound_pool
from opendet.pools.names import plain
from opendet.pools.nearest import NearestNames, nearest_names
from opendet.pools.origin import Origin, read_origin
from opendet.pools.purity import own_shares
from opendet.pools.vectors import read_vector_file, require_width, unit_rows
from opendet.pools.vocabulary import Coverage, coverage, read_vocabulary

EXAMPLES = 8
"""Prototypes shown of each kind."""


@dataclass(frozen=True, slots=True)
class Example:
    """A prototype, shown."""

    level: Level
    row: int
    name: str
    size: int
    note: str
    """What it is shown for."""


@dataclass(frozen=True, slots=True)
class Card:
    """What the page says."""

    pool: str
    """The folder's name."""
    digest: str
    """SHA-256 of its vectors."""
    width: int
    health: PoolHealth
    measures: PoolMeasures
    origin: Origin | None
    """None for a pool that a build's stage made."""
    images: int | None
    """Different records that its vectors are of; None without assignments."""
    vocabulary: str
    """The file whose coverage is told; empty for none."""
    coverage: tuple[Coverage, ...]
    nearest: NearestNames | None
    largest: tuple[Example, ...]
    least_pure: tuple[Example, ...]
    shared_names: tuple[Example, ...]

    @property
    def figures(self) -> tuple[Figure, ...]:
        return figures(self.health, self.measures, self.nearest, self.coverage)


def card_of(
    folder: Path,
    *,
    vocabulary: Path | None = None,
    vectors: Path | None = None,
    names: Path | None = None,
) -> Card:
    """The card of the pool in a folder. `vectors` are real ones to find names for, `names` theirs
    where the file brings none. Raises ValueError, in one line, for files that do not fit."""
    pool = read_sound_pool(folder)
    assignments = assignments_of(folder, pool)
    named = ([one.medoid.name for one in of_level(pool, level)] for level in LEVELS)
    entries = read_vocabulary(vocabulary) if vocabulary else ()
    return Card(
        pool=folder.resolve().name,
        digest=sha256_of(folder / "pool.safetensors"),
        width=pool.coarse.shape[1],
        health=pool.health,
        measures=read_measures(folder, pool),
        origin=read_origin(folder),
        images=None if assignments is None else len(set(assignments.keys)),
        vocabulary=vocabulary.name if vocabulary else "",
        coverage=coverage(entries, *named) if entries else (),
        nearest=_nearest(vectors, names, pool) if vectors else None,
        largest=_largest(pool, assignments),
        least_pure=_least_pure(pool, assignments),
        shared_names=_shared_names(pool),
    )


def card_json(card: Card) -> dict[str, Any]:
    return {**asdict(card), "figures": [asdict(one) for one in card.figures]}


def write_card(folder: Path, card: Card, page: str) -> None:
    """`card.md` and `card.json`."""
    write_durably(folder / "card.md", page.encode())
    write_json_durably(folder / "card.json", card_json(card))


def _nearest(vectors: Path, names: Path | None, pool: Pool) -> NearestNames:
    found = read_vector_file(vectors)
    own = tuple(one.name for one in read_vocabulary(names)) if names else found.names
    if own is None:
        raise ValueError(f"{vectors} brings no names of its vectors: name a file of them (--names)")
    if len(own) != len(found.rows):
        raise ValueError(f"{names} has {len(own)} names for {len(found.rows)} rows of {vectors}")
    require_width(found.rows, pool.coarse.shape[1], where=str(vectors))
    return nearest_names(unit_rows(found.rows, where=str(vectors)), own, pool)


def _largest(pool: Pool, assignments: Assignments | None) -> tuple[Example, ...]:
    found = of_level(pool, finer_level(pool))
    found.sort(key=lambda one: (-one.size, one.index))
    return tuple(_example(one, _members(one, assignments)) for one in found[:EXAMPLES])


def _least_pure(pool: Pool, assignments: Assignments | None) -> tuple[Example, ...]:
    """Of the finer level, those with the fewest members of their name; large ones first."""
    if assignments is None:
        return ()
    level, names = finer_level(pool), plain_names(pool, assignments)
    own = own_shares(names.members, assignments.clusters(level), names.prototypes(level))
    found = [one for one in of_level(pool, level) if own[one.index] < 1]
    found.sort(key=lambda one: (own[one.index], -one.size, one.index))
    return tuple(
        _example(one, f"{own[one.index]:.0%} its name: {_members(one, assignments)}")
        for one in found[:EXAMPLES]
    )


def _shared_names(pool: Pool) -> tuple[Example, ...]:
    """Names that most fine prototypes have, each with its largest prototype."""
    fine = sorted(of_level(pool, "fine"), key=lambda one: (-one.size, one.index))
    counts = Counter(plain(one.medoid.name) for one in fine)
    first: dict[str, Prototype] = {}
    for one in fine:
        first.setdefault(plain(one.medoid.name), one)
    several = [(name, count) for name, count in counts.most_common() if count > 1]
    return tuple(
        _example(first[name], f"{count} fine prototypes") for name, count in several[:EXAMPLES]
    )


def _members(prototype: Prototype, assignments: Assignments | None, *, most: int = 4) -> str:
    if assignments is None:
        return prototype.medoid.text
    counts = members_of(prototype.index, prototype.level, assignments)
    listed = [f"{name} {count}" for name, count in list(counts.items())[:most]]
    rest = len(counts) - len(listed)
    return ", ".join([*listed, *([f"{rest} names more"] if rest else [])])


def _example(prototype: Prototype, note: str) -> Example:
    return Example(prototype.level, prototype.index, prototype.medoid.name, prototype.size, note)
