"""What the gallery filters, sorts and draws: columns of one piece, in numbers where there are many.

The index is read whole before the first filter, so it is small: some dozen bytes a sample and a
region. Captions and boxes are read for what is on the screen, and captions for a search.

S samples, R regions of all samples, in their order.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from opendet.pages.entry import Entry, said, said_name
from opendet.record import Record, Region

CARDS = 256
"""Samples in a file of cards."""
MOST_CARD = 2_000
"""Characters of a caption on a card, and that a search looks into."""
UNKNOWN = -100_000
"""In place of a number of a region that has none."""


class Words:
    """Texts by number, in the order they come."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._numbers: dict[str, int] = {}
        for text in texts:
            self.number(text)

    def number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    @property
    def texts(self) -> list[str]:
        return list(self._numbers)


@dataclass
class Index:
    """The columns of one piece, as they grow."""

    sources: Words = field(default_factory=Words)
    splits: Words = field(default_factory=Words)
    names: Words = field(default_factory=Words)
    refusals: Words = field(default_factory=lambda: Words([""]))
    """0 for a region that is kept."""
    fates: Words = field(default_factory=lambda: Words([""]))
    """As fates tell it; 0 for a sample like any other."""
    samples: list[list[Any]] = field(default_factory=list)
    """S rows of key, source, split, fate, width, height, words of the caption, regions, whether
    there is a picture, file of details."""
    regions: list[list[int]] = field(default_factory=list)
    """R rows of name, score, agreement, refusal, crowd; the numbers in thousandths."""

    def add(self, entry: Entry, *, picture: bool, details: int) -> None:
        record = entry.record
        fate = entry.fate.told if entry.fate else ""
        self.samples.append(
            [
                said(entry.key, 200),
                self.sources.number(said(record.source, 200) if record else ""),
                self.splits.number(said(record.split, 200) if record else ""),
                self.fates.number(said(fate, 300)),
                record.width if record else 0,
                record.height if record else 0,
                len(record.caption.split()) if record else 0,
                len(record.regions) if record else 0,
                int(picture),
                details,
            ]
        )
        self.regions += [self._region(one) for one in (record.regions if record else ())]

    def _region(self, region: Region) -> list[int]:
        return [
            self.names.number(said_name(region)),
            _thousandths(region.box_from.score),
            _thousandths(region.agreement),
            self.refusals.number(said(region.refusal, 200)),
            int(region.crowd),
        ]

    @property
    def value(self) -> dict[str, Any]:
        """By columns, for like numbers side by side are quick to read."""
        words = ("sources", "splits", "names", "refusals", "fates")
        return {
            **{name: getattr(self, name).texts for name in words},
            "samples": _columns(self.samples, 10),
            "regions": _columns(self.regions, 5),
        }


def card_of(entry: Entry) -> list[Any]:
    """[the caption's beginning, boxes as x, y, width and height in thousandths of the image]; for a
    sample without a record why it is not there."""
    if entry.record is None:
        return [said(entry.fate.detail if entry.fate else "", MOST_CARD), []]
    return [said(entry.record.caption, MOST_CARD), _boxes(entry.record)]


def _boxes(record: Record) -> list[int]:
    flat: list[int] = []
    for region in record.regions:
        x0, y0, x1, y1 = region.box_xyxy
        across, down = 1000 / record.width, 1000 / record.height
        flat += (
            round(x0 * across),
            round(y0 * down),
            round((x1 - x0) * across),
            round((y1 - y0) * down),
        )
    return flat


def _thousandths(number: float | None) -> int:
    return UNKNOWN if number is None else round(number * 1000)


def _columns(rows: list[list[Any]], width: int) -> list[list[Any]]:
    return [[row[column] for row in rows] for column in range(width)]
