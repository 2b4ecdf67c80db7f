"""One sample of a collection: its story, and its picture where that can be had."""

import difflib
from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from opendet.inspect.collection import Collection, Gone, Trouble
from opendet.inspect.story import Chapter, Story
from opendet.record import Record
from opendet.sample import Sample
from opendet.stage_order import SAMPLE_STAGES

_NEIGHBOURS = 50
"""Keys to either side, in two orders, among which the nearest are looked for."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of one sample."""

    story: Story
    content: bytes
    """The image file's own bytes; empty where they are missing or damaged."""
    troubles: tuple[str, ...]
    """What of it is not whole, a line each."""


def look_at(collection: Collection, key: str) -> Look:
    """Everything about one sample. Raises ValueError, with the nearest keys, for an unknown one."""
    found = collection.find(key)
    gone = [one for one in collection.gone if one.key == key]
    if found is None and not gone:
        raise ValueError(_unknown(collection, key))
    chapters = tuple(_chapters(collection, gone, there=found is not None))
    if found is None:  # refused on the way: the fullest record is what went into that stage
        before = collection.before(gone[-1].stage)
        found = before.find(key) if before else None
    record = found.record if found else None
    content = found.content if isinstance(found, Sample) else b""
    troubles = (found.line,) if isinstance(found, Trouble) else ()
    return Look(Story(key, record, chapters), content, troubles)


def key_at(collection: Collection, place: int) -> str:
    """The key of the sample at a place, counted from 0 in the collection's order.

    Of a damaged piece its whole records count. Raises ValueError for a place that there is not.
    """
    left = place
    for piece in collection.pieces:
        if left < piece.samples:
            found = next(islice(_known(collection.records(piece)), left, None), None)
            if found is None:
                where = f"{piece.path.name}, which has fewer whole records than it should have"
                raise ValueError(f"{collection.name} has sample {place} in {where}")
            return found.key
        left -= piece.samples
    raise ValueError(
        f"{collection.name} has no sample {place}: it has {collection.samples_count}, "
        "counted from 0"
    )


def _known(records: Iterable[Record | Trouble]) -> Iterator[Record]:
    for one in records:
        record = one.record if isinstance(one, Trouble) else one
        if record is not None:
            yield record


# --- what the stages did


def _chapters(collection: Collection, gone: Sequence[Gone], *, there: bool) -> Iterator[Chapter]:
    """By the ledger, which adds up: what a stage did not take away of what came to it, it kept.

    `there` says whether the sample is in the last stage that is built.
    """
    stages = SAMPLE_STAGES if len(collection.built) > 1 else collection.built
    last = None if there else gone[-1].stage
    for stage in stages:
        left = [one for one in gone if one.stage == stage]
        if stage not in collection.built:
            yield Chapter(stage, "not built")
        # two files of a source may share a key, and one of them stay
        elif not left or (stage == "source" and stage != last):
            yield Chapter(stage, "kept")
        for one in left:
            why = f"{one.reason} ({one.detail})" if one.detail else one.reason
            yield Chapter(stage, one.fate, why)
        if stage == last:
            return


# --- unknown keys


def _unknown(collection: Collection, key: str) -> str:
    there = {piece.name: collection.keys(piece) for piece in collection.pieces}
    known = (key for keys in there.values() for key in keys)
    near = nearest_keys(key, {*known, *(gone.key for gone in collection.gone)})
    hint = f"; the nearest: {', '.join(near)}" if near else ""
    damaged = [one.name for one in collection.pieces if len(there[one.name]) < one.samples]
    more = f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
    doubt = f"; {', '.join(damaged[:3])}{more} cannot be read whole and may have it"
    return f"{collection.name} has no sample {key!r}{hint}{doubt if damaged else ''}"


def nearest_keys(key: str, known: Iterable[str], *, count: int = 3) -> list[str]:
    """Keys that hold the asked one, else those that look like it."""
    keys = sorted(known)
    holding = [one for one in keys if key in one][:count]
    return holding or difflib.get_close_matches(key, _neighbours(key, keys), n=count)


def _neighbours(key: str, keys: Sequence[str]) -> list[str]:
    """Those that begin or end most like it: comparing it with a million would take minutes."""
    near: dict[str, None] = {}
    for step in (1, -1):
        turned = sorted(one[::step] for one in keys)
        place = bisect(turned, key[::step])
        for one in turned[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS]:
            near[one[::step]] = None
    return list(near)
