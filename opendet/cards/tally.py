"""One pass over a build's records, counted for its card."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from opendet.inspect.stats import size_of
from opendet.record import Provenance, Record, Region

GRAMMAR = "grammar"


@dataclass
class SplitTally:
    images: int = 0
    captions: int = 0
    regions: int = 0
    kept: int = 0
    without_kept: int = 0
    """Images."""
    names: Counter[str] = field(default_factory=Counter)
    """First names of kept regions."""


@dataclass
class RecordTally:
    """What the records of a build say, in counts."""

    splits: dict[str, SplitTally] = field(default_factory=dict)
    licences: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(source, licence) -> images."""
    formats: Counter[str] = field(default_factory=Counter)
    """`jpg`, `png` or `webp` -> images."""
    said: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(model, revision, what) -> how often."""
    sizes: Counter[str] = field(default_factory=Counter)
    """`small`, `medium`, `large` -> kept boxes."""
    agreements_kept: list[float] = field(default_factory=list)
    agreements_refused: list[float] = field(default_factory=list)
    seconded: int = 0
    """Kept regions whose name another annotator's agrees with, whatever the cosine."""
    twins: int = 0
    """Images that look like an earlier one."""

    @property
    def names(self) -> Counter[str]:
        return sum((split.names for split in self.splits.values()), Counter())


def tally_of(records: Iterable[Record]) -> RecordTally:
    tally = RecordTally()
    for record in records:
        _count_image(tally, record)
        for region in record.regions:
            _count_region(tally, tally.splits[record.split], region)
        for what, by in _beliefs(record):
            tally.said[by.model, by.revision, what] += 1
    return tally


def _count_image(tally: RecordTally, record: Record) -> None:
    split = tally.splits.setdefault(record.split, SplitTally())
    split.images += 1
    split.captions += bool(record.caption)
    split.without_kept += not any(region.kept for region in record.regions)
    tally.licences[record.source, record.licence] += 1
    tally.formats[record.format] += 1
    tally.twins += bool(record.near_duplicate_of)


def _count_region(tally: RecordTally, split: SplitTally, region: Region) -> None:
    split.regions += 1
    if region.agreement is not None:
        known = tally.agreements_kept if region.kept else tally.agreements_refused
        known.append(region.agreement)
    if region.kept:
        split.kept += 1
        split.names.update(region.names[:1])
        tally.sizes[size_of(region.box_xyxy)] += 1
        tally.seconded += region.seconded is not None


def _beliefs(record: Record) -> Iterator[tuple[str, Provenance]]:
    """What is believed, and by whom, each belief once."""
    if record.caption and record.caption_from:
        yield "captions", record.caption_from
    if record.tags and record.tags_from:
        yield "images tagged", record.tags_from
    for phrase in record.phrases:
        yield "phrases grounded" if phrase.regions else "phrases not found", phrase.grounded_from
    for judged in record.absent:
        yield "names called absent", judged.judged_from
    for judged in record.partial:
        yield "names boxed in part", judged.judged_from
    for region in record.regions:
        yield from _beliefs_of_region(region)


def _beliefs_of_region(region: Region) -> Iterator[tuple[str, Provenance]]:
    told = (
        ("boxes", region.box_from),
        ("masks", region.mask.mask_from if region.mask else None),
        ("names", region.names_from if region.names else None),
        ("descriptions", region.description_from if region.description else None),
        ("agreements measured", region.agreement_from),
        ("names judged", region.name_checked),
        ("boxes judged", region.box_checked),
    )
    yield from ((what, by) for what, by in told if by is not None)
