"""Pages that are made when they are asked for: a piece is read at the first question about it.

A thread of its own reads the pieces in their order meanwhile, for the numbers of the overview and
for comparisons. Of what was read stay compressed scripts; pictures are cut from the shards' byte
ranges each time.
"""

import gzip
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from opendet.inspect.collection import Collection, Trouble
from opendet.pages.entry import Entry, gone_entry, not_whole
from opendet.pages.pictures import cut, full_size
from opendet.pages.piece import Pictures, PieceFiles
from opendet.pages.render import assets, page
from opendet.pages.script_data import collection_path, picture_path
from opendet.pages.site import COMPARISON_PATH, Gathered, Site, collection_script
from opendet.sample import Sample
from opendet.sources.images import BadImageError

_DATA = re.compile(r"data/([ab])/(\d{4,9})/(?:index|cards-\d{1,9}|details-\d{1,9})\.js")
_PICTURE = re.compile(r"pictures/([ab])/(\d{4,9})/\d{1,9}/(\d{1,9})-(small|large)\.jpg")


@dataclass(frozen=True, slots=True)
class HeldPiece:
    """A piece that was read."""

    keys: tuple[str, ...]
    files: dict[str, bytes]
    """Path -> its script, compressed by gzip."""


@dataclass
class HeldSide:
    """One collection, as far as it was read."""

    gathered: Gathered
    pieces: dict[int, HeldPiece] = field(default_factory=dict)
    locks: dict[int, threading.Lock] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Content:
    """What is answered."""

    body: bytes
    kind: str
    """Its media type."""
    compressed: bool = False
    lasting: bool = False
    """Whether it stays the same as long as it is served."""


class HeldPages:
    """The pages of a collection, and of another one to compare it with. May be asked by threads."""

    def __init__(self, here: Collection, there: Collection | None = None) -> None:
        self.sides = {"a": HeldSide(Gathered(here, "a"))}
        if there is not None:
            self.sides["b"] = HeldSide(Gathered(there, "b"))
        for side in self.sides.values():
            side.locks = {number: threading.Lock() for number in range(side.gathered.pieces)}
        there_too = self.sides["b"].gathered if there is not None else None
        self._site = Site(self.sides["a"].gathered, there_too)
        self._gathering = threading.Lock()
        self._fixed = {path: Content(body, _kind(path)) for path, body in assets()}
        self._finished: dict[str, Content] = {}

    @property
    def waiting(self) -> int:
        """Pieces that are still to be read."""
        every = self.sides.values()
        return sum(side.gathered.pieces - len(side.pieces) for side in every)

    def read_all(self, stop: threading.Event) -> None:
        """Read what nobody has asked for yet."""
        for letter, side in self.sides.items():
            for number in range(side.gathered.pieces):
                if stop.is_set():
                    return
                self._piece(letter, number)

    def find(self, path: str) -> Content | None:
        """What lies at a path, such as `gallery.html`; None for nothing."""
        path = path or "index.html"
        if path in self._fixed:
            return self._fixed[path]
        if found := _DATA.fullmatch(path):
            piece = self._piece(found[1], int(found[2]))
            body = piece.files.get(path) if piece else None
            return Content(body, _kind(path), compressed=True) if body else None
        if found := _PICTURE.fullmatch(path):
            return self._picture(found[1], int(found[2]), int(found[3]), found[4])
        for letter, side in self.sides.items():
            if path == collection_path(letter):
                return Content(collection_script(side.gathered, served=True)[1], _kind(path))
        return self._page(path)

    # --- pages

    def _page(self, path: str) -> Content | None:
        if path not in self._site.paths:
            return None
        with self._gathering:
            waiting = self.waiting
            if waiting and path in ("compare.html", COMPARISON_PATH):
                return self._not_yet(waiting)
            if path not in self._finished:
                made = Content(self._site.make(path, waiting=waiting), _kind(path))
                if waiting and path != "pool.html":
                    return made
                self._finished[path] = made
            return self._finished[path]

    def _not_yet(self, waiting: int) -> Content:
        return Content(page("waiting.html.j2", {"waiting": waiting}), "text/html")

    # --- pieces

    def _piece(self, letter: str, number: int) -> HeldPiece | None:
        side = self.sides.get(letter)
        if side is None or number not in side.locks:
            return None
        with side.locks[number]:
            if number not in side.pieces:
                held, files = _read(side.gathered, number)
                with self._gathering:
                    side.gathered.tally.merge(files.tally)
                    side.gathered.beliefs += files.beliefs
                    side.pieces[number] = held
        return side.pieces[number]

    def _picture(self, letter: str, number: int, place: int, size: str) -> Content | None:
        piece = self._piece(letter, number)
        if piece is None or place >= len(piece.keys):
            return None
        whole = self.sides[letter].gathered.collection
        if number >= len(whole.pieces):
            return None
        sample = replace(whole, pieces=(whole.pieces[number],)).find(piece.keys[place])
        if not isinstance(sample, Sample):
            return None
        try:
            small = size == "small"
            body = cut(sample.content, large=False).small if small else full_size(sample.content)
        except BadImageError:
            return None
        return Content(body, "image/jpeg", lasting=True)


def _read(gathered: Gathered, number: int) -> tuple[HeldPiece, PieceFiles]:
    """A piece's records, without their pictures."""
    files: dict[str, bytes] = {}
    keys: list[str] = []

    def emit(path: str, body: bytes) -> None:
        files[path] = gzip.compress(body, compresslevel=3, mtime=0)

    made = PieceFiles(gathered.letter, number, emit, comparing=True)
    for entry in _entries(gathered.collection, number, made):
        pictures = Pictures()
        if entry.fate is None and _has_pictures(gathered.collection, number):
            pictures = _pictures(gathered.letter, number, len(keys))
        keys.append(entry.key)
        made.add(entry, pictures)
    made.finish()
    return HeldPiece(tuple(keys), files), made


def _pictures(letter: str, number: int, place: int) -> Pictures:
    small, large = (picture_path(letter, number, place, size) for size in ("small", "large"))
    return Pictures(small, large)


def _entries(collection: Collection, number: int, files: PieceFiles) -> Iterator[Entry]:
    if number == len(collection.pieces):
        for trouble in collection.troubles:
            files.tally.add_trouble(trouble)
        yield from map(gone_entry, collection.gone)
        return
    for found in collection.records(collection.pieces[number]):
        if not isinstance(found, Trouble):
            yield Entry(found.key, found)
        elif found.record is None:
            files.tally.add_trouble(found.line)
        else:
            fate = not_whole(collection, found.what)
            yield Entry(found.record.key, found.record, fate=fate)


def _has_pictures(collection: Collection, number: int) -> bool:
    """Whether it is worth asking for them."""
    return collection.pieces[number].packed or collection.images is not None


def _kind(path: str) -> str:
    if path.endswith(".js"):
        return "text/javascript"
    if path.endswith(".svg"):
        return "image/svg+xml"
    return "text/css" if path.endswith(".css") else "text/html"
