"""A neutral view of one image's grounding annotations, and how a record becomes one.

Lines of ODVG (`opendet.inspect.lint_line`) and records share it, so that they share all rules.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from opendet.inspect.lint_kinds import Finding
from opendet.record import BoxXYXY, Record, Region, Turn

Span = tuple[int, int]
SHOWN = 60
"""Characters of the data's own text in a sentence."""


@dataclass(frozen=True, slots=True)
class NamedBox:
    part: str
    """Where it stands, as `region 0, box 2`."""
    name: str
    """What it is called; empty where nothing may learn that."""
    box_xyxy: BoxXYXY
    """As it is given: outside, inverted or NaN."""
    mention: tuple[Span, ...] = ()
    """The spans that speak of it: a caption may name one thing twice."""

    @property
    def finite(self) -> bool:
        return all(map(math.isfinite, self.box_xyxy))

    @property
    def inverted(self) -> bool:
        x0, y0, x1, y1 = self.box_xyxy
        return x1 < x0 or y1 < y0


@dataclass(frozen=True, slots=True)
class SpannedPhrase:
    part: str
    texts: tuple[str, ...]
    """The phrase; several where its words are not in one piece."""
    spans: tuple[Span, ...] | None
    """[start, end) in the caption, as they are given; None in a dialect without spans."""


@dataclass(frozen=True, slots=True)
class Name:
    part: str
    text: str


@dataclass(frozen=True)
class GroundedImage:
    """What is said of one image. Nothing of it is believed: that is what the rules are for."""

    file: str | None
    """Which image; None where that is not known."""
    width: float | None
    """Pixels; None where it is not known."""
    height: float | None
    """Pixels; None where it is not known."""
    caption: str | None
    """None for an image with boxes alone."""
    boxes: tuple[NamedBox, ...] = ()
    phrases: tuple[SpannedPhrase, ...] = ()
    names: tuple[Name, ...] = ()
    """Every text that something is learned to be called by."""
    conversation: tuple[Turn, ...] | None = None
    """None where none is declared."""
    needs_spans: bool = False
    """Whether it is in a dialect whose every phrase has spans."""

    @cached_property
    def loaded_caption(self) -> str:
        """The caption as the loader has it, after the spans were made."""
        return (self.caption or "").lower().strip()

    @cached_property
    def steady(self) -> int:
        """The characters at the caption's start that stand in the loaded one where they stood."""
        caption = self.caption or ""
        if caption[:1].isspace():
            return 0
        if len(caption.lower()) == len(caption):
            return len(caption)
        return next(i for i, letter in enumerate(caption) if len(letter.lower()) > 1)

    @cached_property
    def sound_boxes(self) -> tuple[NamedBox, ...]:
        """The boxes of which place and size can be asked at all."""
        return tuple(box for box in self.boxes if box.finite and not box.inverted)

    def good_spans(self, phrase: SpannedPhrase) -> Iterator[Span]:
        """The spans that are not empty and lie in the caption."""
        size = len(self.caption or "")
        return ((start, end) for start, end in phrase.spans or () if 0 <= start < end <= size)


Rule = Callable[[GroundedImage], Iterator[Finding]]


def plain(text: str) -> str:
    """A text as it is compared: lowered, without spaces at its ends or doubled ones."""
    return " ".join(text.lower().split())


def cut(text: str) -> str:
    """As much of a text as a sentence shows."""
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def view_of_record(record: Record) -> tuple[GroundedImage, list[Finding]]:
    """The view of what training may learn from a record, and what does not fit into the view.

    Refused regions and crowds are left out: no loss uses them.
    """
    learned = [(i, one) for i, one in enumerate(record.regions) if one.has_object]
    found = list(_unfit(record))
    mentions: dict[int, tuple[Span, ...]] = defaultdict(tuple)
    for phrase in record.phrases:
        for number in phrase.regions:
            mentions[number] += ((phrase.start, phrase.end),)
    view = GroundedImage(
        file=f"{record.source}/{record.batch}/{record.file}",
        width=record.width,
        height=record.height,
        caption=record.caption if record.caption or record.phrases else None,
        boxes=tuple(
            NamedBox(f"region {i}", next(iter(_names_of(one)), ""), one.box_xyxy, mentions[i])
            for i, one in learned
        ),
        phrases=tuple(
            SpannedPhrase(
                f"phrase {i}", (record.caption[one.start : one.end],), ((one.start, one.end),)
            )
            for i, one in enumerate(record.phrases)
        ),
        names=(
            *(Name(f"region {i}", name) for i, one in learned for name in _names_of(one)),
            *(Name(f"tag {i}", tag) for i, tag in enumerate(record.tags)),
        ),
        conversation=record.conversation or None,
        needs_spans=True,
    )
    return view, found


def _names_of(region: Region) -> tuple[str, ...]:
    """What a kept region is exported as: the believed names, else the source's word."""
    if not region.kept:
        return ()
    return region.names or ((region.label,) if region.label is not None else ())


def _unfit(record: Record) -> Iterator[Finding]:
    for index, region in enumerate(record.regions):
        if region.kept and region.has_object and not _names_of(region):
            yield Finding("region.phraseless", f"region {index}", "it is kept and has no name.")
    for index, phrase in enumerate(record.phrases):
        for number in phrase.regions:
            if not 0 <= number < len(record.regions):
                said = f"it speaks of region {number} of {len(record.regions)}."
                yield Finding("phrase.unknown_region", f"phrase {index}", said)
