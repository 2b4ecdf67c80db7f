"""Makes the files of a collection's pieces: pieces in processes, pictures in threads.

Pillow decodes without Python's lock, so a single large piece has several threads to cut for it;
many pieces are shared among processes, for reading records is Python's own work.
"""

import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from opendet.inspect.collection import Collection, Trouble
from opendet.inspect.in_processes import in_processes
from opendet.pages.beliefs import Beliefs
from opendet.pages.entry import Entry, Fate, entries, gone_entry, not_whole
from opendet.pages.pictures import Cut, cut
from opendet.pages.piece import Emit, Pictures, PieceFiles
from opendet.pages.script_data import picture_path
from opendet.pages.tally import Tally
from opendet.sources.images import BadImageError

_WORTH_A_PROCESS = 400
"""Samples that take about as long as a process takes to begin."""


Cutting = tuple[str, str]
"""A sample's key and its image's sha256."""


@dataclass(frozen=True)
class Side:
    """One collection on its way into pages."""

    collection: Collection
    letter: str
    """`a`, or `b` for what it is compared with."""
    folder: Path
    """Of the pages, with forward slashes below."""
    large: bool
    """Whether large pictures are cut, too."""
    comparing: bool = False
    cut_before: Mapping[Cutting, Pictures] | None = None
    """The pictures that the other side has: the page of a comparison looks for them there."""


@dataclass(frozen=True, slots=True)
class MadePiece:
    """What is known of a piece when its files are written."""

    samples: int
    tally: Tally
    beliefs: tuple[Beliefs, ...]
    pictures: tuple[tuple[Cutting, Pictures], ...]
    """Of each sample that has some, where the collection is compared."""


def make_side(side: Side, *, processes: int | None = None) -> Iterator[MadePiece]:
    """The pieces in their order, and what left the flow as one more at the end.

    In as many `processes` as there are cores, where that pays; 0 for this one alone.
    """
    pieces = side.collection.pieces
    cpus = len(os.sched_getaffinity(0))
    worth = sum(piece.samples for piece in pieces) // _WORTH_A_PROCESS
    count = min(cpus if processes is None else processes, len(pieces), worth + 1)
    if count <= 1:
        yield from (make_piece(side, number, threads=cpus) for number in range(len(pieces)))
    else:
        given = (side, cpus // count)
        numbers = range(len(pieces))
        with in_processes(
            _make_in_process, numbers, count, begin=_begin, begin_with=given
        ) as asked:
            for number in numbers:
                yield asked[number].result()
    yield _make_gone(side, len(pieces))


_held: list[tuple[Side, int]] = []
"""What a process works on, sent once and not with each piece: it may know of many pictures."""


def _begin(side: Side, threads: int) -> None:
    _held[:] = [(side, threads)]


def _make_in_process(number: int) -> MadePiece:
    [(side, threads)] = _held
    return make_piece(side, number, threads=max(threads, 1))


def make_piece(side: Side, number: int, *, threads: int) -> MadePiece:
    files = PieceFiles(side.letter, number, folder_writer(side.folder), comparing=side.comparing)
    pictures: list[tuple[Cutting, Pictures]] = []
    for entry, cutting in _cut_ahead(side, number, files.tally, threads):
        found = _pictures_of(side, entry, cutting, number, files.samples)
        if isinstance(found, Fate):
            files.add(Entry(entry.key, entry.record, fate=found), Pictures())
            continue
        files.add(entry, found)
        if side.comparing and found.small:
            pictures.append((_cutting(entry), found))
    files.finish()
    return MadePiece(files.samples, files.tally, tuple(files.beliefs), tuple(pictures))


def _make_gone(side: Side, number: int) -> MadePiece:
    files = PieceFiles(side.letter, number, folder_writer(side.folder), comparing=side.comparing)
    for gone in side.collection.gone:
        files.add(gone_entry(gone), Pictures())
    for trouble in side.collection.troubles:
        files.tally.add_trouble(trouble)
    files.finish()
    return MadePiece(files.samples, files.tally, tuple(files.beliefs), ())


def _cut_ahead(
    side: Side, number: int, tally: Tally, threads: int
) -> Iterator[tuple[Entry, "Future[Cut] | None"]]:
    """Entries in their order, with their pictures on the way; a few are read ahead."""
    known = side.cut_before or {}
    waiting: deque[tuple[Entry, Future[Cut] | None]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for entry in entries(side.collection, side.collection.pieces[number]):
            if isinstance(entry, Trouble):
                tally.add_trouble(entry.line)
                continue
            wanted = bool(entry.content) and _cutting(entry) not in known
            cutting = pool.submit(cut, entry.content, large=side.large) if wanted else None
            waiting.append((entry, cutting))
            if len(waiting) > 4 * threads:
                yield waiting.popleft()
        yield from waiting


def _pictures_of(
    side: Side, entry: Entry, cutting: "Future[Cut] | None", piece: int, place: int
) -> Pictures | Fate:
    """Where the sample's pictures lie, written now if they are new; why there is none."""
    if not entry.content:
        return Pictures()
    if cutting is None:
        return (side.cut_before or {})[_cutting(entry)]
    try:
        made = cutting.result()
    except BadImageError as error:
        return not_whole(side.collection, str(error))
    write, paths = folder_writer(side.folder), Pictures()
    paths.small = picture_path(side.letter, piece, place, "small")
    write(paths.small, made.small)
    if made.large:
        paths.large = picture_path(side.letter, piece, place, "large")
        write(paths.large, made.large)
    return paths


def _cutting(entry: Entry) -> Cutting:
    return (entry.key, entry.record.sha256 if entry.record else "")


def folder_writer(folder: Path) -> Emit:
    """Writes files below a folder that is whole in the end or not there at all."""

    def write(path: str, content: bytes) -> None:
        place = folder / path
        try:
            place.write_bytes(content)
        except FileNotFoundError:  # once for each folder, not before each of a thousand files
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)

    return write
