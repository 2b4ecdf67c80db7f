"""The files of one piece: its index, cards and details, made sample by sample in one pass."""

from collections.abc import Callable
from dataclasses import dataclass, field

from opendet.pages.beliefs import Beliefs, beliefs_of
from opendet.pages.columns import CARDS, Index, card_of
from opendet.pages.details import details_of
from opendet.pages.entry import Entry
from opendet.pages.script_data import (
    cards_path,
    data_script,
    details_path,
    index_path,
    plain_json,
    script_of,
)
from opendet.pages.tally import Tally

Emit = Callable[[str, bytes], None]
"""Takes a file's path in the pages, and its bytes."""
_DETAILS_BYTES = 128 << 10
"""A page reads one such file to show a sample."""


@dataclass
class Pictures:
    """Paths of a sample's pictures; empty where there are none."""

    small: str = ""
    large: str = ""


@dataclass
class PieceFiles:
    """Grows by `add` and writes by `emit`; `finish` writes the rest. Its memory is a piece's index
    and the files that are not full yet."""

    side: str
    number: int
    emit: Emit
    comparing: bool = False
    tally: Tally = field(default_factory=Tally)
    beliefs: list[Beliefs] = field(default_factory=list)
    """Of each sample, where the collection is compared."""
    _index: Index = field(default_factory=Index)
    _cards: list[object] = field(default_factory=list)
    _details: list[str] = field(default_factory=list)
    _details_bytes: int = 0
    _details_files: int = 0

    @property
    def samples(self) -> int:
        return len(self._index.samples)

    def add(self, entry: Entry, pictures: Pictures) -> None:
        place = self.samples
        has_picture = bool(pictures.small)
        self._index.add(entry, picture=has_picture, details=self._details_files)
        self.tally.add(entry, picture=has_picture)
        self._cards.append(card_of(entry))
        if len(self._cards) == CARDS:
            self._write_cards(place // CARDS)
        details = details_of(entry, small=pictures.small, large=pictures.large)
        self._details.append(plain_json(details))
        self._details_bytes += len(self._details[-1])
        if self._details_bytes >= _DETAILS_BYTES:
            self._write_details()
        if self.comparing:
            self.beliefs.append(beliefs_of(entry, piece=self.number, place=place))

    def finish(self) -> None:
        if self._cards:
            self._write_cards(self.samples // CARDS)
        if self._details:
            self._write_details()
        path = index_path(self.side, self.number)
        self.emit(path, data_script(path, self._index.value))

    def _write_cards(self, chunk: int) -> None:
        path = cards_path(self.side, self.number, chunk)
        self.emit(path, data_script(path, self._cards))
        self._cards = []

    def _write_details(self) -> None:
        path = details_path(self.side, self.number, self._details_files)
        self.emit(path, script_of(path, f"[{','.join(self._details)}]"))
        self._details, self._details_bytes = [], 0
        self._details_files += 1
