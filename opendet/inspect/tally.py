"""What a set of records says, counted: tallies of pieces add up to that of the whole."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from opendet.record import BoxXYXY, Provenance, Record, Region

SCORE_BINS = 20
"""Of one width, from 0 to 1; a score in another unit falls into further ones of that width."""
_FAR = 1e6
"""Scores beyond it count as it: no unit that anybody uses goes so far."""
WORDS_A_BIN = 5


def _counter() -> Counter[str]:
    return Counter()


def _numbers() -> Counter[int]:
    return Counter()


@dataclass(slots=True)
class Tally:
    """Counts of records; the one thing here that is not frozen, for it is added to."""

    samples: int = 0
    regions: int = 0
    kept: int = 0
    """Regions that no rule refused."""
    masks: int = 0
    """Regions with one."""
    without_region: int = 0
    """Samples without a kept one."""
    splits: Counter[str] = field(default_factory=_counter)
    """Samples."""
    sources: Counter[str] = field(default_factory=_counter)
    """Samples."""
    licences: Counter[str] = field(default_factory=_counter)
    """Samples."""
    names: Counter[str] = field(default_factory=_counter)
    """Kept regions, by their first names."""
    refusals: Counter[str] = field(default_factory=_counter)
    """Refused regions, by their reasons."""
    boxes_by: Counter[str] = field(default_factory=_counter)
    """Regions, by whoever drew them."""
    names_by: Counter[str] = field(default_factory=_counter)
    """Regions, by whoever named them."""
    captions_by: Counter[str] = field(default_factory=_counter)
    """Samples, by whoever captioned them."""
    box_scores: Counter[int] = field(default_factory=_numbers)
    """Regions, by `score_bin` of how sure the annotator was of the box."""
    agreements: Counter[int] = field(default_factory=_numbers)
    """Regions, by `score_bin` of the cosine of crop and text."""
    name_beliefs: Counter[int] = field(default_factory=_numbers)
    """Regions, by `score_bin` of the verifier's belief in the name."""
    box_beliefs: Counter[int] = field(default_factory=_numbers)
    """Regions, by `score_bin` of the verifier's belief in the box."""
    sides: Counter[int] = field(default_factory=_numbers)
    """Regions, by `side_bin`."""
    words: Counter[int] = field(default_factory=_numbers)
    """Captions, by words // `WORDS_A_BIN`; samples without a caption are left out."""

    def add(self, record: Record) -> None:
        """Count one record."""
        self.samples += 1
        self.splits[record.split] += 1
        self.sources[record.source] += 1
        self.licences[record.licence] += 1
        if record.caption:
            self.captions_by[_who(record.caption_from)] += 1
            self.words[len(record.caption.split()) // WORDS_A_BIN] += 1
        for region in record.regions:
            self._add_region(region)
        self.without_region += not any(region.kept for region in record.regions)

    def _add_region(self, region: Region) -> None:
        self.regions += 1
        self.masks += region.mask is not None
        self.boxes_by[_who(region.box_from)] += 1
        self.sides[side_bin(region.box_xyxy)] += 1
        if region.refusal:
            self.refusals[region.refusal] += 1
        else:
            self.kept += 1
            if region.names:
                self.names[region.names[0]] += 1
        if region.names:
            self.names_by[_who(region.names_from)] += 1
        for bins, score in (
            (self.box_scores, region.box_from.score),
            (self.agreements, region.agreement),
            (self.name_beliefs, _score(region.name_checked)),
            (self.box_beliefs, _score(region.box_checked)),
        ):
            if score is not None and math.isfinite(score):
                bins[score_bin(score)] += 1


def added(tallies: Iterable[Tally]) -> Tally:
    """Their sum, field by field."""
    total = Tally()
    for tally in tallies:
        for one in fields(Tally):
            mine, other = getattr(total, one.name), getattr(tally, one.name)
            if isinstance(mine, Counter):
                mine.update(other)  # `+` would copy the long ones each time
            else:
                setattr(total, one.name, mine + other)
    return total


def score_bin(score: float) -> int:
    """The bin of a finite score: [bin, bin + 1) / `SCORE_BINS`; 1 itself is in the last below 1."""
    near = min(max(score, -_FAR), _FAR)
    return SCORE_BINS - 1 if near == 1 else math.floor(near * SCORE_BINS)


def side_bin(box_xyxy: BoxXYXY) -> int:
    """The bin of a box: the square root of its area is in [2**bin, 2**(bin + 1)) pixels.

    -1 for less than a pixel, and for a box that is none.
    """
    x0, y0, x1, y1 = box_xyxy
    area = max(x1 - x0, 0) * max(y1 - y0, 0)
    return math.floor(math.log2(area) / 2) if 1 <= area < math.inf else -1


def _score(provenance: Provenance | None) -> float | None:
    return provenance.score if provenance else None


def _who(provenance: Provenance | None) -> str:
    return provenance.model if provenance else "nobody"
