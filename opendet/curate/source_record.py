"""What a source says of an image, checked against the image, as a record's first beliefs.

Whatever cannot be believed is left out and counted: a box outside the image, a label of no letters,
a mask of another size, a phrase whose span is none of its caption.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from opendet.masks import compressed, turned
from opendet.record import (
    BoxXYXY,
    Mask,
    NameJudgement,
    Phrase,
    Provenance,
    Record,
    Region,
    Turn,
)
from opendet.sources.card import Batch
from opendet.sources.geometry import fit_box, upright_box
from opendet.sources.images import ImageFacts
from opendet.sources.listing import (
    AnnotatedBox,
    AnnotatedPhrase,
    Entry,
    RefusedError,
    clean_text,
    is_readable,
    with_newlines,
)
from opendet.sources.openimages import scaled

FROM_SOURCE = Provenance(model="source")
MAX_CAPTION = 10_000
"""Characters; a longer one is no caption."""
MAX_LABEL = 200
"""Characters; a longer one is no name."""
ROUNDING = 2
"""Pixels by which a shrunken image's shorter side may miss the annotated form."""

Problems = Counter[str]
"""What was wrong with boxes and texts, such as `box.degenerate`."""


def record_of(
    entry: Entry, facts: ImageFacts, problems: Problems, *, source: str, batch: Batch
) -> Record:
    """The record of an image that passed; adds to `problems`.

    Raises RefusedError where the annotations speak of an image of another size.
    """
    orientation = _orientation_of(entry, facts)
    regions = {
        number: region
        for number, box in enumerate(entry.annotations)
        if (region := _region_of(box, facts, orientation, problems))
    }
    caption, phrases = _caption_of(entry, list(regions), problems)
    return Record(
        key=entry.key,
        source=source,
        batch=batch.name,
        split=batch.split,
        licence=clean_text(entry.licence) or batch.licence,
        file=entry.file,
        format=facts.format,
        bytes=facts.bytes,
        sha256=facts.sha256,
        width=facts.width,
        height=facts.height,
        phash=facts.phash,
        source_captions=_texts_of(entry.captions, MAX_CAPTION, "caption", problems),
        caption=caption,
        caption_from=FROM_SOURCE if caption else None,
        phrases=phrases,
        regions=tuple(regions.values()),
        tags=_texts_of(entry.tags, MAX_LABEL, "tag", problems),
        tags_from=FROM_SOURCE if entry.tags else None,
        conversation=tuple(
            Turn(clean_text(turn.speaker), _lines_of(turn.text)) for turn in entry.conversation
        ),
        absent=_judged(entry.absent, problems),
        partial=_judged(entry.partial, problems),
    )


def in_pixels(entry: Entry, facts: ImageFacts) -> Entry:
    """An entry whose boxes are parts of the image, with boxes in pixels.

    They are parts of the stored image, unless the annotations declare a size that has the upright
    one's form: images may have been made smaller since. Raises RefusedError for a size of neither
    form, for then something was cut off or put around the image.
    """
    upright = (facts.width, facts.height)
    size, normalised = facts.stored_size, True
    if entry.declared_size and entry.annotations:
        if _alike(upright, entry.declared_size):
            size, normalised = upright, False
        elif not _alike(size, entry.declared_size):
            raise _other_size(entry, facts)
    boxes = scaled(entry.annotations, *size)
    return replace(entry, annotations=boxes, declared_size=size, normalised=normalised)


def _alike(size: tuple[int, int], declared: tuple[int, int]) -> bool:
    """Whether one is the other made larger or smaller, up to two pixels of rounding."""
    (width, height), (wide, high) = size, declared
    return abs(width * high - height * wide) <= ROUNDING * max(wide, high)


def _orientation_of(entry: Entry, facts: ImageFacts) -> int:
    """How far the annotations' frame is to be turned, as EXIF has it; 1 where it is upright.

    Annotations that declare the size as stored, where that is not the upright one, were made by
    somebody who did not turn the image: theirs are turned, and so are parts of the stored one.
    Raises RefusedError where they declare neither size, so that nobody knows what their boxes mean.
    """
    if entry.normalised:
        return facts.orientation
    declared = entry.declared_size
    if not entry.annotations or declared in (None, (facts.width, facts.height)):
        return 1
    if declared != facts.stored_size:
        raise _other_size(entry, facts)
    return facts.orientation


def _other_size(entry: Entry, facts: ImageFacts) -> RefusedError:
    width, height = entry.declared_size or (0, 0)
    return RefusedError(
        "size differs from annotation",
        f"{entry.file} is {facts.width}x{facts.height}, annotated as {width}x{height}",
    )


def _region_of(
    box: AnnotatedBox, facts: ImageFacts, orientation: int, problems: Problems
) -> Region | None:
    width, height = facts.stored_size
    upright = box.box_xyxy
    if orientation > 1:
        upright = upright_box(upright, orientation=orientation, width=width, height=height)
    fitted: BoxXYXY | None
    fitted, problem = fit_box(upright, width=facts.width, height=facts.height)
    if problem:
        problems[f"box.{problem}"] += 1
    if fitted is None:
        return None
    description = clean_text(box.description)
    unlabelled = bool(description) and not box.label  # a sentence in the place of a name
    return Region(
        fitted,
        replace(FROM_SOURCE, score=box.score),
        label=None if unlabelled else _label_of(box.label, problems),
        other_labels=_texts_of(box.other_labels, MAX_LABEL, "label", problems),
        crowd=box.crowd,
        mask=_mask_of(box, facts, orientation, problems),
        description=description,
        description_from=FROM_SOURCE if description else None,
    )


def _mask_of(
    box: AnnotatedBox, facts: ImageFacts, orientation: int, problems: Problems
) -> Mask | None:
    if box.mask is None:
        return None
    width, height = facts.stored_size if orientation > 1 else (facts.width, facts.height)
    try:
        code = turned(compressed(box.mask, (height, width), "mask"), orientation)
    except ValueError:
        problems["mask.broken"] += 1
        return None
    return Mask(code["counts"].decode("ascii"), FROM_SOURCE)


def _caption_of(
    entry: Entry, kept: list[int], problems: Problems
) -> tuple[str, tuple[Phrase, ...]]:
    """The caption to the letter, for its phrases count letters; and those of the kept boxes."""
    caption = with_newlines(entry.caption)
    if len(caption) > MAX_CAPTION:
        problems["caption.too long"] += 1
        return "", ()
    if not is_readable(caption):
        problems["caption.unprintable"] += 1
        return clean_text(caption), ()
    numbers = {old: new for new, old in enumerate(kept)}
    phrases = [_phrase_of(phrase, caption, numbers, problems) for phrase in entry.phrases]
    return caption, tuple(phrase for phrase in phrases if phrase)


def _phrase_of(
    phrase: AnnotatedPhrase, caption: str, numbers: Mapping[int, int], problems: Problems
) -> Phrase | None:
    if not 0 <= phrase.start < phrase.end <= len(caption):
        problems["phrase.outside"] += 1
        return None
    regions = tuple(numbers[box] for box in phrase.boxes if box in numbers)
    return Phrase(phrase.start, phrase.end, regions, FROM_SOURCE)


def _label_of(text: str, problems: Problems) -> str | None:
    label = clean_text(text)
    if not label or len(label) > MAX_LABEL:
        problems["label.too long" if label else "label.empty"] += 1
        return None
    return label


def _texts_of(texts: Iterable[str], longest: int, what: str, problems: Problems) -> tuple[str, ...]:
    kept = []
    for text in texts:
        cleaned = clean_text(text)
        if not cleaned or len(cleaned) > longest:
            problems[f"{what}.too long" if cleaned else f"{what}.empty"] += 1
        else:
            kept.append(cleaned)
    return tuple(kept)


def _lines_of(text: str) -> str:
    """Each line cleaned: a conversation's lines are part of it."""
    return "\n".join(clean_text(line) for line in text.splitlines())


def _judged(names: Iterable[str], problems: Problems) -> tuple[NameJudgement, ...]:
    cleaned = _texts_of(names, MAX_LABEL, "name", problems)
    return tuple(NameJudgement(name, FROM_SOURCE) for name in dict.fromkeys(cleaned))
