"""What is counted of a collection while its pages are made; tallies of pieces add up."""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from opendet.inspect.stats import size_of
from opendet.pages.entry import Entry, said, said_name
from opendet.record import Record

BIN = 0.05
"""Width of a histogram's bar, for scores and for cosines."""
_LONGEST_TROUBLES = 50


@dataclass
class Tally:
    """Counts, and the first troubles in words."""

    samples: int = 0
    """With a record."""
    pictures: int = 0
    captions: int = 0
    regions: int = 0
    kept: int = 0
    masks: int = 0
    sources: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(source, licence) -> samples."""
    splits: Counter[str] = field(default_factory=Counter)
    names: Counter[str] = field(default_factory=Counter)
    """Of kept regions."""
    refusals: Counter[str] = field(default_factory=Counter)
    fates: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(what, stage, reason) -> samples."""
    sizes: Counter[str] = field(default_factory=Counter)
    """As COCO calls them -> regions."""
    scores: Counter[tuple[int, bool]] = field(default_factory=Counter)
    """(bin, kept) -> regions."""
    agreements: Counter[tuple[int, bool]] = field(default_factory=Counter)
    trouble_count: int = 0
    troubles: list[str] = field(default_factory=list)

    def add(self, entry: Entry, *, picture: bool) -> None:
        if entry.fate is not None:
            fate = entry.fate
            self.fates[fate.what, fate.stage, said(fate.reason, 200)] += 1
        self.pictures += picture
        if entry.record is not None:
            self._add_record(entry.record)

    def add_trouble(self, text: str) -> None:
        self.trouble_count += 1
        if len(self.troubles) < _LONGEST_TROUBLES:
            self.troubles.append(said(text, 500))

    def merge(self, other: "Tally") -> None:
        for name, value in vars(other).items():
            if isinstance(value, Counter):
                own: Counter[Hashable] = getattr(self, name)
                own.update(value)
            elif isinstance(value, int):
                setattr(self, name, getattr(self, name) + value)
        self.troubles = (self.troubles + other.troubles)[:_LONGEST_TROUBLES]

    def _add_record(self, record: Record) -> None:
        self.samples += 1
        self.captions += bool(record.caption)
        self.sources[said(record.source, 200), said(record.licence, 200)] += 1
        self.splits[said(record.split, 200)] += 1
        for region in record.regions:
            self.regions += 1
            self.kept += region.kept
            self.masks += region.mask is not None
            self.sizes[size_of(region.box_xyxy)] += 1
            if region.kept:
                self.names[said_name(region)] += 1
            else:
                self.refusals[said(region.refusal, 200)] += 1
            _count(self.scores, region.box_from.score, region.kept)
            _count(self.agreements, region.agreement, region.kept)


def _count(bins: Counter[Any], value: float | None, kept: bool) -> None:
    if value is not None:
        # a hair more, for 0.15 / 0.05 is less than 3; what is outside stands at the ends
        bins[min(max(int((value + 1) / BIN + 1e-9) - round(1 / BIN), -20), 19), kept] += 1
