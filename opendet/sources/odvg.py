"""ODVG: an image a line, with boxes that phrases of a caption speak of.

One reader for all dialects, since every line shows which it is of: GroundingCap-1M's and
MMDetection's have the phrases' spans, Open-GroundingDino's has none: its phrases are looked for.

A box's label is its phrase from behind `a`, `the`, `two` and their like on, as loaders have it.
A caption `name. name. ` is a list of names: those that no region has are absent, and the answer of
the conversation, which then is the only text about the image, is kept as a caption.
"""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
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
    for number, line in read_json_lines(_Line, path):
        times[line.filename or ""] += 1
        bare = _bare_entry(batch, images, line, number, times[line.filename or ""])
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


def merged(entries: Iterable[Entry]) -> list[Entry]:
    """One entry a file, with the lines' captions one below the other.

    A box of several lines becomes one, which has all their words.
    """
    by_file: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        # an entry without a file is of no image that another could share
        by_file[entry.file or entry.key].append(entry)
    return [_merge(group) if len(group) > 1 else group[0] for group in by_file.values()]


def _lower(text: str) -> str:
    """In lower case, character by character where a capital would become two."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(each.lower() if len(each.lower()) == 1 else each for each in text)


def _bare_entry(batch: str, images: str, line: _Line, number: int, time: int) -> Entry:
    """A null byte, which no file's name has, keeps further keys apart from those of files."""
    if not line.filename:
        return Entry(key_of(batch, f"\0line {number}"), batch, "", problem="no file name")
    entry = entry_of(batch, images, line.filename)
    if time > 1:
        entry = replace(entry, key=key_of(batch, f"{time}\0{line.filename}"))
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
    if line.grounding is None:
        instances = line.detection.instances if line.detection else ()
        boxes = tuple(
            AnnotatedBox(one.bbox, _category_of(one, names, f"{place}: detection.instances.{n}"))
            for n, one in enumerate(instances)
        )
        return replace(entry, annotations=boxes, captions=answers[:1]), []
    return _grounded(entry, line.grounding, answers[:1])


def _grounded(
    entry: Entry, grounding: _Grounding, answer: tuple[str, ...]
) -> tuple[Entry, list[str]]:
    phrases, missing = _phrases_of(grounding)
    boxes = tuple(_boxes_of(grounding.regions))
    present = _words_of(boxes)
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


def _merge(group: Sequence[Entry]) -> Entry:
    boxes: dict[BoxXYXY, AnnotatedBox] = {}
    numbers: dict[BoxXYXY, int] = {}
    captions: list[str] = []
    phrases: list[AnnotatedPhrase] = []
    place = 0
    for entry in group:
        for box in entry.annotations:
            boxes[box.box_xyxy] = _with_words(boxes.get(box.box_xyxy, box), box)
            numbers.setdefault(box.box_xyxy, len(numbers))
        own = [numbers[box.box_xyxy] for box in entry.annotations]
        phrases += (_moved(phrase, entry.caption, place, own) for phrase in entry.phrases)
        if entry.caption:
            captions.append(entry.caption)
            place += len(entry.caption) + len("\n")
    present = _words_of(boxes.values())
    absent = _of_all(entry.absent for entry in group)
    return replace(
        group[0],
        annotations=tuple(boxes.values()),
        caption="\n".join(captions),
        phrases=tuple(phrases),
        captions=_of_all(entry.captions for entry in group),
        tags=_of_all(entry.tags for entry in group),
        conversation=next((entry.conversation for entry in group if entry.conversation), ()),
        absent=tuple(name for name in absent if name.lower() not in present),
    )


def _moved(phrase: AnnotatedPhrase, caption: str, by: int, own: Sequence[int]) -> AnnotatedPhrase:
    """A span outside its own caption stays outside, and out of the next one."""
    if not 0 <= phrase.start < phrase.end <= len(caption):
        return replace(phrase, start=-1, end=-1)
    boxes = tuple(dict.fromkeys(own[box] for box in phrase.boxes))
    return AnnotatedPhrase(by + phrase.start, by + phrase.end, boxes)


def _words_of(boxes: Iterable[AnnotatedBox]) -> set[str]:
    """All that boxes are called, in lower case."""
    return {word.lower() for box in boxes for word in (box.label, *box.other_labels)}


def _with_words(box: AnnotatedBox, other: AnnotatedBox) -> AnnotatedBox:
    words = dict.fromkeys((*box.other_labels, other.label, *other.other_labels))
    return replace(box, other_labels=tuple(word for word in words if word != box.label))


def _of_all(texts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for some in texts for text in some))
