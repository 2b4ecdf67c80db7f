"""ODVG: an image a line, with boxes that phrases of a caption speak of.

One reader for all dialects, since every line shows which it is of: GroundingCap-1M's and
MMDetection's have the phrases' spans, Open-GroundingDino's has none: its phrases are looked for.

A line may have phrases and detections: both are read, and a box of both is one.

A box's label is its phrase from behind `a`, `the`, `two` and their like on, as loaders have it.
A caption `name. name. ` is a list of names: those that no region has are absent, and the answer of
the conversation, which then is the only text about the image, is kept as a caption.
"""

import logging
import re
from codecs import BOM_UTF8
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from opendet.record import BoxXYXY, Turn
from opendet.sources.listing import (
    MEND,
    AnnotatedBox,
    AnnotatedPhrase,
    Entry,
    entry_of,
    in_order,
    key_of,
)
from opendet.sources.odvg_merge import merged, with_words, words_of
from opendet.typed_json import read_json

NAME_END = ". "
"""What stands behind every name of a caption that is a list of names."""
_LEADING = re.compile(
    r"(?:(?:an?|the|one|two|three|four|five|six|seven|eight|nine)\s+)+(?=\S)", re.IGNORECASE
)

log = logging.getLogger(__name__)

T = TypeVar("T")
Span = tuple[int, int]


def _as_boxes(value: Any) -> Any:
    """One box is a list of one."""
    return (
        [value] if isinstance(value, list) and value and not isinstance(value[0], list) else value
    )


def _as_texts(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class _Region:
    bbox: Annotated[tuple[BoxXYXY, ...], BeforeValidator(_as_boxes)]
    """xyxy in pixels."""
    phrase: Annotated[tuple[str, ...], BeforeValidator(_as_texts)]
    tokens_positive: tuple[Span, ...] | None = None
    """Characters [start, end) of the caption."""


@dataclass(frozen=True, slots=True)
class _Grounding:
    caption: str
    regions: tuple[_Region, ...] = ()


@dataclass(frozen=True, slots=True)
class _Instance:
    bbox: BoxXYXY
    """xyxy in pixels."""
    label: int | str | None = None
    category: str | None = None


@dataclass(frozen=True, slots=True)
class _Detection:
    instances: tuple[_Instance, ...] = ()


@dataclass(frozen=True, slots=True)
class _Turn:
    speaker: Annotated[str, Field(alias="from")]
    value: str


@dataclass(frozen=True, slots=True)
class _Line:
    filename: str | None
    height: int | None = None
    width: int | None = None
    grounding: _Grounding | None = None
    detection: _Detection | None = None
    conversations: tuple[_Turn, ...] | None = None
    tags: tuple[str, ...] | None = None

    @property
    def file(self) -> str:
        """One spelling of a file: `./a.jpg` is `a.jpg`, so that its lines find each other."""
        return str(PurePosixPath(self.filename)) if self.filename else ""

    @property
    def boxes(self) -> int:
        """How many the line has."""
        grounded = sum(len(one.bbox) for one in self.grounding.regions) if self.grounding else 0
        return grounded + (len(self.detection.instances) if self.detection else 0)

    @property
    def says_nothing(self) -> bool:
        return self.grounding is None and self.detection is None and not self.conversations


@dataclass(slots=True)
class _Search:
    """Phrases without spans are looked for one after the other, as they follow in the text."""

    caption: str
    place: int = 0

    def find(self, phrase: str) -> Span | None:
        """Behind the furthest one found; else, for a phrase that comes again, from the start."""
        span = find_words(self.caption, phrase, self.place) or find_words(self.caption, phrase)
        if span:
            self.place = max(self.place, span[1])
        return span


def list_odvg(
    root: Path,
    *,
    batch: str,
    images: str,
    annotations: str,
    label_map: str = "",
    merge: bool = False,
) -> list[Entry]:
    """An entry a line; with `merge` an entry an image, of all its lines.

    Files such as Flickr30k's have an image in five lines, one for each of its captions. A build
    drops all but the first of them as exact duplicates, unless they are merged.

    `label_map` is a JSON file, label -> name, for detections that name no category.
    Raises ValueError, naming file and line, for what is not ODVG.
    """
    names = read_json(dict[str, str], root / label_map, mend=MEND) if label_map else {}
    path = root / annotations
    times: Counter[str] = Counter()
    entries, missing = [], []
    silent = 0
    for number, line in read_json_lines(_Line, path):
        silent += line.says_nothing
        times[line.file] += 1
        bare = _bare_entry(batch, images, line, number, times[line.file])
        entry, lost = _entry_of(bare, line, names, f"{path}: line {number}")
        entries.append(entry)
        missing += [(number, phrase) for phrase in lost]
    if missing:
        log.warning(
            "%s: %d phrases are not in their captions, the first is %r in line %d",
            path,
            len(missing),
            missing[0][1],
            missing[0][0],
        )
    if silent:
        log.warning("%s: %d lines have neither grounding nor detection", path, silent)
    return in_order(merged(entries) if merge else entries)


def read_json_lines(kind: type[T], path: Path) -> Iterator[tuple[int, T]]:
    """The values of a file, one a line, with the lines' numbers from 1; empty lines are skipped.

    Raises ValueError in one line that names file and line.
    """
    adapter = TypeAdapter(kind)
    number = 0
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                text = text.removeprefix(BOM_UTF8) if number == 1 else text
                if text.strip():
                    yield number, adapter.validate_json(text)
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: {MEND}") from error
    except IsADirectoryError as error:
        raise ValueError(f"{path} is a folder: name a file of JSON lines in it") from error
    except ValidationError as error:
        raise ValueError(f"{path}: line {number}: {first_problem(error)}") from error


def first_problem(error: ValidationError) -> str:
    """Place and message of the first of its errors."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(step) for step in first["loc"]) or "its root"
    return f"{where}: {first['msg']}"


def bare_phrase(phrase: str) -> str:
    """What a phrase calls its object: `the two dogs` are `dogs`."""
    text = phrase.strip()
    leading = _LEADING.match(text)
    return text[leading.end() :] if leading else text


def find_words(text: str, words: str, start: int = 0) -> Span | None:
    """Where whole words first stand in a text from `start` on, whatever their case."""
    text, words = _lower(text), _lower(words.strip())
    place = text.find(words, start) if words else -1
    while place >= 0:
        end = place + len(words)
        if not (text[place - 1 : place].isalnum() or text[end : end + 1].isalnum()):
            return place, end
        place = text.find(words, place + 1)
    return None


def unspoken_names(caption: str, spans: Iterable[Span]) -> tuple[str, ...] | None:
    """The names of a list of names that no span has; None where the caption is another text.

    It is a list where it ends as one, and every span is one of its names. Without a span nobody
    can tell, and it is none.
    """
    whole = sorted(set(spans))
    if not whole or not caption.endswith(NAME_END):
        return None
    gaps, place = [], 0
    for start, end in whole:
        gap = caption[place:start]
        bounded = (not gap or gap.endswith(NAME_END)) and caption.startswith(NAME_END, end)
        if not place <= start < end or not bounded:
            return None
        gaps.append(gap)
        place = end + len(NAME_END)
    gaps.append(caption[place:])
    names = (name.strip() for gap in gaps for name in gap.split(NAME_END))
    return tuple(dict.fromkeys(name for name in names if name))


def _lower(text: str) -> str:
    """In lower case, character by character where a capital would become two."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(each.lower() if len(each.lower()) == 1 else each for each in text)


def _bare_entry(batch: str, images: str, line: _Line, number: int, time: int) -> Entry:
    """A null byte, which no file's name has, keeps further keys apart from those of files."""
    if not line.file:
        bare = Entry(key_of(batch, f"\0line {number}"), batch, "", problem="no file name")
        return replace(bare, problem_detail=f"line {number}, which has {line.boxes} boxes")
    entry = entry_of(batch, images, line.file)
    if time > 1:
        entry = replace(entry, key=key_of(batch, f"{time}\0{line.file}"))
    return replace(
        entry,
        declared_size=(line.width, line.height) if line.width and line.height else None,
    )


def _entry_of(
    entry: Entry, line: _Line, names: Mapping[str, str], place: str
) -> tuple[Entry, list[str]]:
    """The entry of a line, and the phrases that its caption lacks."""
    conversation = tuple(Turn(turn.speaker, turn.value) for turn in line.conversations or ())
    entry = replace(entry, tags=line.tags or (), conversation=conversation)
    answers = tuple(turn.text for turn in conversation if turn.speaker == "gpt" and turn.text)
    instances = line.detection.instances if line.detection else ()
    detected = tuple(
        AnnotatedBox(one.bbox, _category_of(one, names, f"{place}: detection.instances.{n}"))
        for n, one in enumerate(instances)
    )
    if line.grounding is None:
        return replace(entry, annotations=detected, captions=answers[:1]), []
    return _grounded(entry, line.grounding, detected, answers[:1])


def _grounded(
    entry: Entry, grounding: _Grounding, detected: Iterable[AnnotatedBox], answer: tuple[str, ...]
) -> tuple[Entry, list[str]]:
    phrases, missing = _phrases_of(grounding)
    boxes = _with_detected(tuple(_boxes_of(grounding.regions)), detected)
    present = words_of(boxes)
    names = unspoken_names(grounding.caption, [(one.start, one.end) for one in phrases])
    entry = replace(
        entry,
        annotations=boxes,
        caption=grounding.caption,
        phrases=tuple(phrases),
        captions=() if names is None else answer,
        absent=tuple(name for name in names or () if name.lower() not in present),
    )
    return entry, missing


def _category_of(instance: _Instance, names: Mapping[str, str], place: str) -> str:
    if instance.category is not None:
        return instance.category
    if str(instance.label) in names:
        return names[str(instance.label)]
    raise ValueError(
        f"{place} has no category and no label map names its label {instance.label!r}: "
        "give the batch in source.yaml a `label_map` that does"
    )


def _boxes_of(regions: Iterable[_Region]) -> Iterator[AnnotatedBox]:
    for region in regions:
        label, *others = dict.fromkeys(bare_phrase(phrase) for phrase in region.phrase) or [""]
        for box_xyxy in region.bbox:
            yield AnnotatedBox(box_xyxy, label, other_labels=tuple(others))


def _with_detected(
    boxes: Sequence[AnnotatedBox], detected: Iterable[AnnotatedBox]
) -> tuple[AnnotatedBox, ...]:
    """The boxes of phrases, which keep their numbers, and those that were only detected; one that
    is both has the words of both."""
    whole = list(boxes)
    numbers = {box.box_xyxy: number for number, box in reversed(list(enumerate(boxes)))}
    for box in detected:
        number = numbers.setdefault(box.box_xyxy, len(whole))
        if number < len(boxes):
            whole[number] = with_words(whole[number], box)
        else:
            whole.append(box)
    return tuple(whole)


def _phrases_of(grounding: _Grounding) -> tuple[list[AnnotatedPhrase], list[str]]:
    """The spans that regions bring along, then those found; and the phrases not found."""
    search = _Search(grounding.caption)
    given: list[AnnotatedPhrase] = []
    found: defaultdict[Span, list[int]] = defaultdict(list)
    missing = []
    boxes = 0
    for region in grounding.regions:
        numbers = range(boxes, boxes := boxes + len(region.bbox))
        if region.tokens_positive is not None:
            given += (AnnotatedPhrase(*span, tuple(numbers)) for span in region.tokens_positive)
            continue
        for phrase in region.phrase:
            span = search.find(phrase)
            if span:
                found[span] += numbers
            else:
                missing.append(phrase)
    searched = [AnnotatedPhrase(*span, tuple(numbers)) for span, numbers in found.items()]
    return given + searched, missing
