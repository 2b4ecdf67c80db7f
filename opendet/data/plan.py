"""Which samples an epoch draws, and how often each: the mixture of sources and the rare names.

A source's share of the draws is its weight's; repeat factors decide within a source alone, so that
they never move a share. Without weights every sample comes once, or as often as its repeat factor
says, and the epoch grows by that.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, fsum

import numpy as np
from numpy.typing import NDArray

from opendet.data.config import LoaderConfig, MixtureSource
from opendet.data.kinds import AnnotationKind, kind_of, teaches
from opendet.data.order import Draw, epoch_order, epoch_rng
from opendet.data.repeat import repeat_factors
from opendet.data.systematic import whole_draws
from opendet.record import Record

# N samples that may be drawn


@dataclass(frozen=True, slots=True)
class EpochPlan:
    """What each epoch draws from."""

    samples: NDArray[np.int64]
    """(N,) indices."""
    groups: NDArray[np.int64]
    """(N,) which source of the mixture each is of; 0 without a mixture."""
    expected: NDArray[np.float64]
    """(N,) draws of each in an epoch, on average."""
    draws: int
    """Of an epoch, the sum of `expected`."""

    def order(self, *, seed: int, epoch: int) -> list[Draw]:
        """The draws of an epoch: each sample as often as expected, rounded up or down at random."""
        rng = epoch_rng(seed, epoch)
        counts = whole_draws(self.expected, self.groups, rng.spawn(1)[0])
        return epoch_order(self.samples, counts, rng)


def plan_epochs(records: Iterable[Record], count: int, config: LoaderConfig) -> EpochPlan:
    """The plan of `count` records, which are read only where the configuration asks about them.

    Raises ValueError, in one line, where there is nothing to draw, or nothing of a source.
    """
    if not count:
        raise ValueError(
            f"the split {config.split} has no samples: see what its stages dropped "
            "(opendet data stats), or set loader.split"
        )
    if config.mixture or config.repeat_threshold or config.drop_empty:
        pool = _pool(records, config)
    else:
        everything = np.arange(count)
        pool = _Pool(everything, np.zeros_like(everything), ())
    return _plan(pool, config)


def mixture_kind(record: Record, mixture: Sequence[MixtureSource]) -> AnnotationKind:
    """What a record's annotations are good for; `box` for one that no source of the mixture has."""
    source = next((source for source in mixture if source.batch == record.batch), None)
    return kind_of(record, source.kind) if source else "box"


@dataclass(frozen=True, slots=True)
class _Pool:
    samples: NDArray[np.int64]
    groups: NDArray[np.int64]
    names: tuple[frozenset[str], ...]
    """N of them, or none where nobody asks."""


def _pool(records: Iterable[Record], config: LoaderConfig) -> _Pool:
    group_of = {source.batch: group for group, source in enumerate(config.mixture)}
    members: list[tuple[int, int, frozenset[str]]] = []
    batches: set[str] = set()
    for index, record in enumerate(records):
        batches.add(record.batch)
        group = group_of.get(record.batch) if config.mixture else 0
        if group is None or (config.drop_empty and not _taught(record, config)):
            continue
        members.append((index, group, _names(record) if config.repeat_threshold else frozenset()))
    _require_all(group_of, batches, config)
    _require_some(group_of, {group for _, group, _ in members})
    samples, groups, names = zip(*members, strict=True)
    return _Pool(np.array(samples), np.array(groups), names)


def _taught(record: Record, config: LoaderConfig) -> bool:
    return teaches(record, mixture_kind(record, config.mixture))


def _names(record: Record) -> frozenset[str]:
    """All names that the detector may learn from a record."""
    return frozenset(
        name for region in record.regions if region.kept and region.has_object
        for name in region.names
    )  # fmt: skip


def _plan(pool: _Pool, config: LoaderConfig) -> EpochPlan:
    factors = np.ones(len(pool.samples))
    if config.repeat_threshold:
        factors = repeat_factors(pool.names, threshold=config.repeat_threshold)
    # The exact sum: one that depends on the processor would give each rank another order.
    grown = fsum(factors) if not config.mixture else len(pool.samples)
    draws = config.epoch_draws or ceil(round(grown, 6))  # no draw more for a rounding error
    weights = [source.weight for source in config.mixture] or [1.0]
    expected = np.zeros(len(pool.samples))
    for group, weight in enumerate(weights):
        inside = pool.groups == group
        share = draws * weight / fsum(weights)
        expected[inside] = factors[inside] * (share / fsum(factors[inside]))
    return EpochPlan(pool.samples, pool.groups, expected, draws)


def _require_all(asked: Iterable[str], batches: set[str], config: LoaderConfig) -> None:
    for name in asked:
        if name not in batches:
            near = difflib.get_close_matches(name, batches, n=1, cutoff=0)
            raise ValueError(
                f"loader.mixture: no image of the split {config.split} is of the batch {name}"
                f" (did you mean {near[0]}?)"
            )


def _require_some(group_of: dict[str, int], drawn: set[int]) -> None:
    """Only `drop_empty` can have left nothing."""
    for name, group in group_of.items():
        if group not in drawn:
            raise ValueError(
                f"loader.drop_empty leaves no image of the batch {name}: none has an object to "
                "learn from, or a caption if it is of kind image; take it out of loader.mixture"
            )
    if not drawn:
        raise ValueError(
            "loader.drop_empty leaves no image: none has an object to learn from; take a source "
            "with boxes, or see what the stage filter refused"
        )
