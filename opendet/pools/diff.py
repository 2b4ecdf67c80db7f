"""What two pools differ in: names, prototypes that are new, gone, moved, split or merged."""

# A prototypes before, B after, D width, S members that both pools have

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from opendet.curate.pool import Level, Pool, Prototype
from opendet.pools.assignments import Assignments, assignments_of
from opendet.pools.levels import LEVELS, of_level, read_sound_pool, vectors_of
from opendet.pools.matching import Matching, Rows, match_prototypes
from opendet.pools.names import plain
from opendet.pools.space import require_one_space

SAME_FROM = 0.9
"""Cosine from which two prototypes may be one: the span of a fine cluster, 1 - `eps`."""
MOVED_BELOW = 0.99
EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Pair:
    """A prototype before and after."""

    before: int
    after: int
    name: str
    """Before."""
    name_after: str
    cosine: float
    size: int
    """Before."""
    size_after: int


@dataclass(frozen=True, slots=True)
class Regrouping:
    """One prototype of one pool, and the several of the other that took its place."""

    row: int
    name: str
    into: tuple[str, ...]
    """The names of the several."""


@dataclass(frozen=True, slots=True)
class LevelDiff:
    """Of one level. Lists show the most telling; the counts are of all."""

    level: Level
    before: int
    after: int
    matched: int
    """Prototypes that are mutually nearest, and near enough."""
    mean_cosine: float | None
    """Of the matched; None where there is none."""
    moved: int
    renamed: int
    split: int
    merged: int
    lost: int
    gained: int
    farthest: tuple[Pair, ...]
    """Matched ones that moved, the farthest first."""
    new_names: tuple[Pair, ...]
    """Matched ones with another name, the largest first."""
    resized: tuple[Pair, ...]
    """Matched ones whose size changed by the largest factor first."""
    splits: tuple[Regrouping, ...]
    merges: tuple[Regrouping, ...]
    lost_names: tuple[str, ...]
    """Of the lost prototypes, the largest first."""
    gained_names: tuple[str, ...]
    rand_index: float | None
    """Adjusted Rand index of the clusters of the members that both have; None without any. Members
    that are noise in both pools are left out, and noise is a cluster of its own."""


@dataclass(frozen=True, slots=True)
class PoolDiff:
    before: str
    """The folder's name."""
    after: str
    same_bytes: bool
    """Whether vectors and what is known of them are equal."""
    names_before: int
    names_after: int
    """Different names of prototypes of either level."""
    names_lost: tuple[str, ...]
    names_gained: tuple[str, ...]
    shared_members: int
    """Members of both pools, by record and region; 0 without assignments."""
    levels: tuple[LevelDiff, ...]


def diff_pools(before: Path, after: Path, *, same_from: float = SAME_FROM) -> PoolDiff:
    """Raises ValueError, in one line, for a folder without a pool, and for pools that cannot be
    compared: of another width, or of another CLIP."""
    old, new = read_sound_pool(before), read_sound_pool(after)
    require_one_space(old, new)
    own = (assignments_of(before, old), assignments_of(after, new))
    shared = None if own[0] is None or own[1] is None else shared_members(own[0], own[1])
    names_old, names_new = _names(old), _names(new)
    there = [one for one in LEVELS if len(vectors_of(old, one)) or len(vectors_of(new, one))]
    return PoolDiff(
        before=before.resolve().name,
        after=after.resolve().name,
        same_bytes=old.prototypes == new.prototypes
        and np.array_equal(old.coarse, new.coarse)
        and np.array_equal(old.fine, new.fine),
        names_before=len(names_old),
        names_after=len(names_new),
        names_lost=tuple(sorted(names_old[one] for one in names_old.keys() - names_new.keys())),
        names_gained=tuple(sorted(names_new[one] for one in names_new.keys() - names_old.keys())),
        shared_members=len(shared[0]) if shared else 0,
        levels=tuple(level_diff(level, old, new, shared, same_from=same_from) for level in there),
    )


def shared_members(before: Assignments, after: Assignments) -> tuple[Assignments, Assignments]:
    """Each pool's part of the members that both have, in one order. A member is known by its record
    and region."""
    rows = {member: row for row, member in enumerate(zip(before.keys, before.regions, strict=True))}
    pairs = [
        (rows[member], row)
        for row, member in enumerate(zip(after.keys, after.regions, strict=True))
        if member in rows
    ]
    places = np.array(pairs, np.intp).reshape(-1, 2)
    return _only(before, places[:, 0]), _only(after, places[:, 1])


def level_diff(
    level: Level,
    before: Pool,
    after: Pool,
    shared: tuple[Assignments, Assignments] | None,
    *,
    same_from: float,
) -> LevelDiff:
    old, new = of_level(before, level), of_level(after, level)
    vectors = vectors_of(before, level), vectors_of(after, level)
    found = match_prototypes(*vectors, same_from=same_from)
    pairs = _pairs(found, old, new)
    moved = [one for one in pairs if one.cosine < MOVED_BELOW]
    renamed = [one for one in pairs if plain(one.name) != plain(one.name_after)]
    resized = [one for one in pairs if one.size != one.size_after]
    return LevelDiff(
        level=level,
        before=len(old),
        after=len(new),
        matched=len(pairs),
        mean_cosine=float(found.cosines.mean()) if pairs else None,
        moved=len(moved),
        renamed=len(renamed),
        split=len(found.split),
        merged=len(found.merged),
        lost=len(found.lost),
        gained=len(found.gained),
        farthest=_first(moved, lambda one: one.cosine),
        new_names=_first(renamed, lambda one: -max(one.size, one.size_after)),
        resized=_first(resized, lambda one: -abs(np.log(one.size_after / one.size))),
        splits=_regroupings(found.split, old, new),
        merges=_regroupings(found.merged, new, old),
        lost_names=_largest_names([old[row] for row in found.lost]),
        gained_names=_largest_names([new[row] for row in found.gained]),
        rand_index=_rand_index(shared, level),
    )


def _rand_index(shared: tuple[Assignments, Assignments] | None, level: Level) -> float | None:
    from sklearn.metrics import adjusted_rand_score

    if shared is None or not len(shared[0]):
        return None
    old, new = (one.clusters(level) for one in shared)
    told = (old >= 0) | (new >= 0)
    return float(adjusted_rand_score(old[told], new[told])) if told.any() else None


def _pairs(found: Matching, old: list[Prototype], new: list[Prototype]) -> list[Pair]:
    return [
        Pair(
            before=int(row),
            after=int(now),
            name=old[row].medoid.name,
            name_after=new[now].medoid.name,
            cosine=min(float(cosine), 1.0),
            size=old[row].size,
            size_after=new[now].size,
        )
        for row, now, cosine in zip(found.before, found.after, found.cosines, strict=True)
    ]


def _regroupings(
    several: dict[int, tuple[int, ...]], one_side: list[Prototype], other: list[Prototype]
) -> tuple[Regrouping, ...]:
    """The largest first."""
    order = sorted(several, key=lambda row: (-one_side[row].size, row))
    return tuple(
        Regrouping(
            row, one_side[row].medoid.name, tuple(other[to].medoid.name for to in several[row])
        )
        for row in order[:EXAMPLES]
    )


def _first(pairs: list[Pair], key: Callable[[Pair], float]) -> tuple[Pair, ...]:
    return tuple(sorted(pairs, key=lambda one: (key(one), one.before))[:EXAMPLES])


def _largest_names(prototypes: list[Prototype]) -> tuple[str, ...]:
    largest = sorted(prototypes, key=lambda one: (-one.size, one.index))
    return tuple(one.medoid.name for one in largest[:EXAMPLES])


def _names(pool: Pool) -> dict[str, str]:
    """Plain form -> as the pool writes it first."""
    found: dict[str, str] = {}
    for one in pool.prototypes:
        found.setdefault(plain(one.medoid.name), one.medoid.name)
    return found


def _only(one: Assignments, rows: Rows) -> Assignments:
    return replace(
        one,
        keys=one.keys[rows],
        regions=one.regions[rows],
        names=one.names[rows],
        coarse=one.coarse[rows],
        fine=one.fine[rows],
    )
