"""A collection in numbers: its pieces are counted in several processes, and what is not whole in
them is named while the rest is counted."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from opendet.inspect.collection import Collection, Piece, Trouble
from opendet.inspect.in_processes import in_processes
from opendet.inspect.tally import Tally, added
from opendet.record import Record
from opendet.sample import Sample

LINES_A_PIECE = 3
"""Troubles of one piece that are told; of the rest only how many."""
WORTH_PROCESSES = 4000
"""Samples from which starting further processes pays."""


@dataclass(frozen=True, slots=True)
class PieceSummary:
    """What was found in one piece."""

    tally: Tally
    keys: tuple[str, ...]
    """Of the records that could be read."""
    troubles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """What was found in a collection."""

    name: str
    stage: str
    pieces: int
    expected: int
    """Samples, as manifests and indices say."""
    tally: Tally
    """Of the records that could be read."""
    gone: dict[str, dict[str, dict[str, int]]]
    """Stage -> `dropped` or `quarantined` -> reason -> samples."""
    troubles: tuple[str, ...]
    """A line for each thing that is not whole."""
    verified: bool
    """Whether every byte was read and compared, or only headers, indices and records."""
    keys: frozenset[str] = field(repr=False)


def summary_of(
    collection: Collection,
    *,
    processes: int | None = None,
    verify: bool = False,
    advance: Callable[[int], None] | None = None,
) -> Summary:
    """Count a collection, in as many processes as there are cores; 0 for this one alone.

    With `verify` the pictures are read too, and files compared with the manifest's sha256.
    `advance` hears how many samples are done.
    """
    found: dict[int, PieceSummary] = {}
    done = 0
    for place, summary in _each(collection, _processes(collection, processes), verify):
        found[place] = summary
        done += collection.pieces[place].samples
        if advance:
            advance(done)
    in_order = [found[place] for place in sorted(found)]
    troubles = [*collection.troubles, *(line for one in in_order for line in one.troubles)]
    names = [piece.name for piece in collection.pieces]
    troubles += _twice(zip(names, (one.keys for one in in_order), strict=True))
    return Summary(
        name=collection.name,
        stage=collection.stage,
        pieces=len(collection.pieces),
        expected=collection.samples_count,
        tally=added(one.tally for one in in_order),
        gone=_gone(collection),
        troubles=tuple(troubles),
        verified=verify,
        keys=frozenset(key for one in in_order for key in one.keys),
    )


def summary_of_piece(collection: Collection, piece: Piece, *, verify: bool) -> PieceSummary:
    """Count one piece."""
    tally, keys, troubles = (
        Tally(),
        list[str](),
        list[str](_stamp_troubles(piece) if verify else ()),
    )
    untold = 0
    for one in _read(collection, piece, verify):
        record = _record_in(one)
        if isinstance(one, Trouble):
            untold += len(troubles) >= LINES_A_PIECE
            troubles += [one.line] if len(troubles) < LINES_A_PIECE else []
        if record is not None:
            tally.add(record)
            keys.append(record.key)
    if untold:
        troubles.append(f"{piece.path.name}: {untold} more things are not whole")
    if not troubles and len(keys) != piece.samples:
        troubles.append(f"{piece.path.name}: {len(keys)} samples instead of {piece.samples}")
    return PieceSummary(tally, tuple(keys), tuple(troubles))


# --- pieces


def _each(
    collection: Collection, processes: int, verify: bool
) -> Iterator[tuple[int, PieceSummary]]:
    """Each piece's place and what was found in it, in no order."""
    if not processes:
        for place, piece in enumerate(collection.pieces):
            yield place, summary_of_piece(collection, piece, verify=verify)
        return
    work = partial(summary_of_piece, collection, verify=verify)
    with in_processes(work, collection.pieces, processes) as asked:
        places = {one: place for place, one in enumerate(asked)}
        for ended in as_completed(asked):
            yield places[ended], ended.result()


def _processes(collection: Collection, wanted: int | None) -> int:
    if wanted is not None:
        return wanted
    cores = len(os.sched_getaffinity(0))
    several = cores > 1 and len(collection.pieces) > 1
    return min(cores, len(collection.pieces)) if several and _is_large(collection) else 0


def _is_large(collection: Collection) -> bool:
    return collection.samples_count >= WORTH_PROCESSES


def _read(
    collection: Collection, piece: Piece, verify: bool
) -> Iterator[Record | Trouble] | Iterator[Sample | Trouble]:
    within_reach = piece.packed or collection.images is not None
    return collection.samples(piece) if verify and within_reach else collection.records(piece)


def _record_in(one: Record | Sample | Trouble) -> Record | None:
    return one if isinstance(one, Record) else one.record


def _stamp_troubles(piece: Piece) -> Iterator[str]:
    from opendet.shard_set import check_file

    for name, stamp in piece.files:
        path = piece.path.parent / name
        if path.is_file() and path.stat().st_size == stamp.bytes:  # else opening said so
            try:
                check_file(path, stamp)
            except ValueError as error:
                yield str(error)


# --- the whole


def _twice(pieces: Iterable[tuple[str, tuple[str, ...]]]) -> Iterator[str]:
    """A line for each piece that has keys of an earlier one, as a shard copied over another has."""
    owners: dict[str, str] = {}
    for name, keys in pieces:
        again = [key for key in keys if owners.setdefault(key, name) != name]
        if again:
            first = again[0]
            yield f"{name}: {len(again)} keys come twice, {first} is in {owners[first]} too"


def _gone(collection: Collection) -> dict[str, dict[str, dict[str, int]]]:
    counts = Counter((gone.stage, gone.fate, gone.reason) for gone in collection.gone)
    told: dict[str, dict[str, dict[str, int]]] = {}
    for (stage, fate, reason), number in counts.most_common():
        told.setdefault(stage, {}).setdefault(fate, {})[reason] = number
    return {stage: told[stage] for stage in collection.built if stage in told}


def summary_json(summary: Summary) -> dict[str, Any]:
    """For programs: histograms as lists of [from, to, count]."""
    from opendet.inspect.histograms import histograms_of

    tally = summary.tally
    return {
        "name": summary.name,
        "stage": summary.stage,
        "pieces": summary.pieces,
        "samples": {"expected": summary.expected, "read": tally.samples},
        "regions": {"all": tally.regions, "kept": tally.kept, "masks": tally.masks},
        "samples_without_kept_region": tally.without_region,
        "splits": dict(tally.splits.most_common()),
        "sources": dict(tally.sources.most_common()),
        "licences": dict(tally.licences.most_common()),
        "names": dict(tally.names.most_common()),
        "refused": dict(tally.refusals.most_common()),
        "by": {
            "boxes": dict(tally.boxes_by.most_common()),
            "names": dict(tally.names_by.most_common()),
            "captions": dict(tally.captions_by.most_common()),
        },
        "histograms": {
            one.title: [[bar.low, bar.high, bar.count] for bar in one.bars]
            for one in histograms_of(tally)
        },
        "gone": summary.gone,
        "verified": summary.verified,
        "troubles": list(summary.troubles),
    }
