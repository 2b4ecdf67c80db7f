"""A pool's health in plain words: each number with its bar, and what it says.

The bars are rules of thumb: they tell a reader where to look, and no program acts on them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from opendet.curate.pool import PoolHealth
from opendet.pools.health import LevelMeasures, Margins, PoolMeasures
from opendet.pools.nearest import NearestNames
from opendet.pools.stability import Stability
from opendet.pools.vocabulary import Coverage

STABLE = 0.5
NOISE = 0.5
LARGEST, TIMES_EVEN = 0.1, 3
"""Share of the largest prototype, or so many times what each had if all were equal."""
PURE = 0.7
FOUND = 0.7
COVERED = 0.5
COLLAPSED = 0.75
"""Mean cosine above which prototypes say little, where the vectors' own is not known."""
CLOSER = 0.05
"""How far the prototypes' mean cosine may lie above that of the vectors."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a pool's health."""

    what: str
    value: str
    bar: str
    """Empty where there is none."""
    holds: bool | None
    """None where there is no bar."""
    means: str


def figures(
    health: PoolHealth,
    measures: PoolMeasures,
    nearest: NearestNames | None = None,
    covered: Iterable[Coverage] = (),
) -> tuple[Figure, ...]:
    """What is known, the most telling first; what is not known is left out."""
    return (
        *_of_stability(measures.stability),
        *_of_fine(health),
        *_of_noise(health),
        *_of_cosines(measures),
        *_of_sizes(measures),
        *_of_purity("coarse", measures.coarse, finest=measures.fine is None),
        *_of_purity("fine", measures.fine),
        *_of_names(health, measures),
        *_of_margins(measures.margins),
        *_of_nearest(nearest),
        *_of_coverage(covered),
    )


def at_least(what: str, value: float, bar: float, means: str) -> Figure:
    """Of a share."""
    return Figure(what, f"{value:.1%}", f"≥ {bar:.0%}", value >= bar, means)


def at_most(what: str, value: float, bar: float, means: str) -> Figure:
    return Figure(what, f"{value:.1%}", f"≤ {bar:.0%}", value <= bar, means)


def share(what: str, value: float, means: str) -> Figure:
    """Without a bar."""
    return Figure(what, f"{value:.1%}", "", None, means)


def _of_stability(found: Stability | None) -> Iterator[Figure]:
    if found is None:
        return
    yield Figure(
        "stability over seeds",
        f"{found.mean:.3f}",
        f"≥ {STABLE:g}",
        found.mean >= STABLE,
        f"adjusted Rand index of the coarse clusters from {found.seeds} seeds, on {found.vectors} "
        f"vectors; the lowest pair has {found.lowest:.3f}. 1: the same clusters, 0: chance",
    )


def _of_fine(health: PoolHealth) -> Iterator[Figure]:
    """Only where fewer were found than asked for: looking for more costs noise, for eps shrinks."""
    if health.fine < (health.fine_asked or 0):
        means = (
            f"dense spots, of {health.fine_asked} that were asked for: the most that there are at "
            f"any eps that was tried, at {health.eps:.3g}"
        )
        yield Figure("fine prototypes", f"{health.fine}", f"≥ {health.fine_asked}", False, means)


def _of_noise(health: PoolHealth) -> Iterator[Figure]:
    means = "vectors that lie in no dense spot, so in no fine prototype"
    yield at_most("noise", health.noise_share, NOISE, means)
    if health.cut_share:
        means = (
            f"vectors in dense spots that were too small: {health.fine} of {health.fine_found} "
            "spots were kept"
        )
        yield at_most("cut", health.cut_share, NOISE, means)


def _of_cosines(measures: PoolMeasures) -> Iterator[Figure]:
    level = measures.fine or measures.coarse
    own, vectors = level.mean_pairwise_cosine, measures.vectors_mean_cosine
    if own is None:
        return
    what = "mean cosine of two prototypes"
    if vectors is None:
        means = "1 would be a collapsed pool: all prototypes in one place"
        yield Figure(what, f"{own:.3f}", f"< {COLLAPSED:g}", own < COLLAPSED, means)
    else:
        bar = vectors + CLOSER
        means = f"two of its vectors have {vectors:.3f}; much more would be a collapsed pool"
        yield Figure(what, f"{own:.3f}", f"≤ {bar:.3f}", own <= bar, means)


def _of_sizes(measures: PoolMeasures) -> Iterator[Figure]:
    named = (("coarse", measures.coarse), ("fine", measures.fine))
    for level, one in named:
        if one is not None and one.prototypes > 1:
            means = (
                f"of the level's vectors; sizes run from {one.smallest} to {one.largest}, median "
                f"{one.median:g}, Gini {one.gini:.2f} (0: all equal)"
            )
            bar = min(1.0, max(LARGEST, TIMES_EVEN / one.prototypes))
            yield at_most(f"largest {level} prototype", one.largest_share, bar, means)


def _of_purity(
    level: str, measures: LevelMeasures | None, *, finest: bool = True
) -> Iterator[Figure]:
    """A coarse prototype above fine ones holds several names, and is not to be blamed for it."""
    if measures is None or measures.purity is None:
        return
    own = measures.purity
    means = (
        f"members that have their prototype's name; a prototype's mean share is "
        f"{own.prototypes:.1%}, homogeneity {own.homogeneity:.3f}, completeness "
        f"{own.completeness:.3f}, V-measure {own.v_measure:.3f}"
    )
    what, value = f"{level} purity", own.members
    yield at_least(what, value, PURE, means) if finest else share(what, value, means)
    if own.names_gathered is not None:
        means = f"names with several members that all lie in one {level} prototype"
        yield share(f"names gathered, {level}", own.names_gathered, means)


def _of_names(health: PoolHealth, measures: PoolMeasures) -> Iterator[Figure]:
    """By plain names where they are known; a pool's own count takes `Cat` and `cat` for two."""
    level, own = ("fine", measures.fine) if measures.fine else ("coarse", measures.coarse)
    names, kept = health.names, health.names_covered
    if own.purity is not None:
        names, kept = own.purity.names, own.purity.names_kept
    if names and kept:
        means = f"of the {names} names of its vectors, those that a {level} prototype has"
        yield at_least("names kept", kept / names, COVERED, means)
    own_vectors = measures.nearest
    found = own_vectors.first_of_all if own_vectors else health.nearest_name_accuracy
    means = "of its own vectors, those whose nearest prototype has their name"
    yield at_least("nearest name", found, FOUND, means)


def _of_margins(found: Margins | None) -> Iterator[Figure]:
    if found is None or found.after is None:
        return
    yield Figure(
        "margin after the filter",
        f"{found.after:+.3f}",
        f"> {found.before:+.3f}",
        found.after > found.before,
        f"agreement less the rival's, mean of {found.kept} kept regions; before the filter it was "
        f"{found.before:+.3f} of {found.judged}",
    )


def _of_nearest(found: NearestNames | None) -> Iterator[Figure]:
    if found is None:
        return
    what = "given vectors, nearest name"
    if found.first is None or found.first_five is None:
        means = f"the pool has none of the names of the {found.lacking} given vectors"
        yield Figure(what, "none", "", None, means)
        return
    means = (
        f"of {found.judged} given vectors, those nearest to a {found.level} prototype of their "
        f"name, among {found.names} names; in the first five: {found.first_five:.1%}, median rank "
        f"{found.median_rank:g}; {found.lacking} more have a name that the pool lacks"
    )
    yield at_least(what, found.first, FOUND, means)


def _of_coverage(found: Iterable[Coverage]) -> Iterator[Figure]:
    for one in found:
        means = (
            f"of {one.entries} entries, those of which a prototype has the name or a synonym: "
            f"{one.fine} by a fine one, {one.coarse} by a coarse one"
        )
        yield at_least(
            f"{one.tier} names of the vocabulary", one.either / one.entries, COVERED, means
        )
