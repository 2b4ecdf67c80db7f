"""What a batch holds, as the build's own readers see it, before any image is opened.

Boxes and texts are judged as the stage `source` judges them, against the size that the annotations
declare. Where only the image knows its size, boxes are judged against a large one: what stands out
of the image shows, how small a box is does not.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from opendet.curate.source import SourceChecker, SourceConfig
from opendet.curate.source_record import record_of
from opendet.record import Record
from opendet.sources.batches import list_batch, require_worth
from opendet.sources.card import Batch, SourceCard
from opendet.sources.images import ImageFacts
from opendet.sources.listing import Entry, RefusedError

UNKNOWN_SIZE = (10_000, 10_000)
"""Stands for the size of an image that no annotation declares."""


@dataclass(slots=True)
class Seen:
    """What was counted in a batch."""

    images: int = 0
    """Those that can be taken, as far as their annotations go."""
    boxes: int = 0
    crowds: int = 0
    masks: int = 0
    descriptions: int = 0
    captions: int = 0
    phrases: int = 0
    conversations: int = 0
    tags: int = 0
    names: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    """Images by the reason why they cannot be taken."""
    first_refused: dict[str, str] = field(default_factory=dict)
    """Reason -> the first of them, with what is wrong."""
    problems: Counter[str] = field(default_factory=Counter)
    """What is left out of images that can be taken, such as `box.degenerate`."""

    def add(self, record: Record) -> None:
        self.images += 1
        self.boxes += len(record.regions)
        self.crowds += sum(region.crowd for region in record.regions)
        self.masks += sum(region.mask is not None for region in record.regions)
        self.descriptions += sum(bool(region.description) for region in record.regions)
        self.captions += len(record.source_captions) + bool(record.caption)
        self.phrases += len(record.phrases)
        self.conversations += bool(record.conversation)
        self.tags += len(record.tags)
        self.names.update(region.label for region in record.regions if region.label)

    def refuse(self, refusal: RefusedError, entry: Entry) -> None:
        self.refused[refusal.reason] += 1
        self.first_refused.setdefault(refusal.reason, refusal.detail or entry.file)


def survey(card: SourceCard, batch: Batch, project_root: Path) -> Seen:
    """Read a batch once.

    Raises ValueError, in one line, for a batch that cannot be listed, of which no image can be
    taken, or that has no boxes where its format is for boxes.
    """
    seen = Seen()
    card = card.model_copy(update={"batches": (batch,)})  # the others may lie nowhere today
    checker = SourceChecker(SourceConfig(), card, project_root)
    root = batch.folder(project_root)
    for entry in _each(list_batch(card, batch, project_root)):
        try:
            seen.add(_record(entry, checker, root, seen.problems, card.name, batch))
        except RefusedError as refusal:
            seen.refuse(refusal, entry)
    require_worth(
        card,
        batch,
        images=seen.images,
        boxes=seen.boxes,
        texts=seen.captions + seen.conversations,
        refused=seen.refused,
    )
    return seen


def _each(entries: list[Entry]) -> Iterator[Entry]:
    """Lets go of what was counted: a million entries need not stay."""
    entries.reverse()
    while entries:
        yield entries.pop()


def _record(
    entry: Entry,
    checker: SourceChecker,
    root: Path,
    problems: Counter[str],
    source: str,
    batch: Batch,
) -> Record:
    if entry.problem:
        raise RefusedError(entry.problem, entry.problem_detail)
    if not (root / entry.file).is_file():
        raise RefusedError("missing file")
    entry = checker.annotated(entry, _facts(entry))
    return record_of(entry, _facts(entry), problems, source=source, batch=batch)


def _facts(entry: Entry) -> ImageFacts:
    """Of an upright image of the declared size."""
    width, height = entry.declared_size or UNKNOWN_SIZE
    return ImageFacts("jpg", width, height, 1, "0" * 64, 0, "0" * 16)
