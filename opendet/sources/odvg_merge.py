"""ODVG's lines of one image, made one entry."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from opendet.record import BoxXYXY, Turn
from opendet.sources.listing import AnnotatedBox, AnnotatedPhrase, Entry, with_one_size

IMAGE_MARK = "<image>"
"""Where a conversation shows the image. One that goes on about it shows it no second time."""


class SharedBoxes:
    """Boxes of an image, each place once: what else a place is called are further labels of it."""

    def __init__(self) -> None:
        self.boxes: list[AnnotatedBox] = []
        self._numbers: dict[BoxXYXY, int] = {}

    def add(self, box: AnnotatedBox) -> int:
        """The number of the box of that place."""
        number = self._numbers.setdefault(box.box_xyxy, len(self.boxes))
        if number == len(self.boxes):
            self.boxes.append(box)
        else:
            self.boxes[number] = with_words(self.boxes[number], box)
        return number


def merged(entries: Iterable[Entry]) -> list[Entry]:
    """One entry a file, with the lines' captions one below the other.

    A box of several lines becomes one, which has all their words. Lines that declare different
    sizes make the file a problem.
    """
    by_file: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        # an entry without a file is of no image that another could share
        by_file[entry.file or entry.key].append(entry)
    return [_merge(group) if len(group) > 1 else group[0] for group in by_file.values()]


def words_of(boxes: Iterable[AnnotatedBox]) -> set[str]:
    """All that boxes are called, in lower case."""
    return {word.lower() for box in boxes for word in (box.label, *box.other_labels)}


def with_words(box: AnnotatedBox, other: AnnotatedBox) -> AnnotatedBox:
    """A box with the words of another one too."""
    words = dict.fromkeys((*box.other_labels, other.label, *other.other_labels))
    return replace(box, other_labels=tuple(word for word in words if word != box.label))


def _merge(group: Sequence[Entry]) -> Entry:
    shared = SharedBoxes()
    captions: list[str] = []
    phrases: list[AnnotatedPhrase] = []
    place = 0
    for entry in group:
        own = [shared.add(box) for box in entry.annotations]
        phrases += (_moved(phrase, entry.caption, place, own) for phrase in entry.phrases)
        if entry.caption:
            captions.append(entry.caption)
            place += len(entry.caption) + len("\n")
    present = words_of(shared.boxes)
    absent = _of_all(entry.absent for entry in group)
    whole = replace(
        group[0],
        annotations=tuple(shared.boxes),
        caption="\n".join(captions),
        phrases=tuple(phrases),
        captions=_of_all(entry.captions for entry in group),
        tags=_of_all(entry.tags for entry in group),
        conversation=_talked(entry.conversation for entry in group),
        absent=tuple(name for name in absent if name.lower() not in present),
    )
    return with_one_size(whole, (entry.declared_size for entry in group))


def _moved(phrase: AnnotatedPhrase, caption: str, by: int, own: Sequence[int]) -> AnnotatedPhrase:
    """A span outside its own caption stays outside, and out of the next one."""
    if not 0 <= phrase.start < phrase.end <= len(caption):
        return replace(phrase, start=-1, end=-1)
    boxes = tuple(dict.fromkeys(own[box] for box in phrase.boxes))
    return AnnotatedPhrase(by + phrase.start, by + phrase.end, boxes)


def _talked(conversations: Iterable[tuple[Turn, ...]]) -> tuple[Turn, ...]:
    """The conversations one after the other, each once."""
    first, *others = dict.fromkeys(filter(None, conversations)) or [()]
    further = (
        replace(turn, text=turn.text.replace(IMAGE_MARK, "").strip())
        for turns in others
        for turn in turns
    )
    return (*first, *further)


def _of_all(texts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for some in texts for text in some))
