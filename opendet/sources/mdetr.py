"""MDETR's JSON of referring expressions, such as `finetune_refcoco_train.json`.

It is COCO's form with an image entry per expression: `caption` is the expression, and the spans
`tokens_positive` of an annotation are the words of it that name the box. So one file comes many
times. The entries of one file become one: boxes of the same place and category become one box, and
the expressions follow each other in the caption, their spans phrases.

A box that alone is spoken of has the whole expression as its description, for the spans leave out
what tells it apart from others; of several boxes each has the words of its spans.

The file has only the boxes that are spoken of, not all of an image.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from opendet.record import BoxXYXY
from opendet.sources.coco import Category, Id, words_of_categories, xyxy_of
from opendet.sources.expressions import Expression, expression_of, joined
from opendet.sources.listing import (
    MEND,
    AnnotatedBox,
    AnnotatedPhrase,
    Entry,
    clean_text,
    entry_of,
    in_order,
    is_readable,
    with_newlines,
    with_one_size,
)
from opendet.typed_json import read_json

log = logging.getLogger(__name__)

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Image:
    id: int
    file_name: str
    caption: str
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class _Annotation:
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    """xywh in pixels."""
    iscrowd: int = 0
    tokens_positive: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class _File:
    images: tuple[_Image, ...]
    annotations: tuple[_Annotation, ...]
    categories: tuple[Category, ...]


def list_mdetr(root: Path, *, batch: str, images: str, annotations: str) -> list[Entry]:
    """An entry per image file.

    Raises ValueError, naming file and place, for a file that has not MDETR's form. Spans that are
    none of their caption are left out, and a warning says how many.
    """
    path = root / annotations
    data = read_json(_File, path, mend=MEND)
    names = {one: words[0] for one, words in words_of_categories(data.categories, path).items()}
    said_of = _annotations_by_image(data, names, path)
    by_file: defaultdict[str, list[_Image]] = defaultdict(list)
    for image in data.images:
        by_file[image.file_name].append(image)
    problems = Counter[str]()
    entries = in_order(
        _merged(entry_of(batch, images, file), expressed, said_of, names, problems)
        for file, expressed in by_file.items()
    )
    if problems["span"]:
        log.warning("%s has %d spans outside their captions: left out", path, problems["span"])
    return entries


def _annotations_by_image(
    data: _File, names: Mapping[Id, str], path: Path
) -> dict[int, list[_Annotation]]:
    found: dict[int, list[_Annotation]] = {}
    for number, image in enumerate(data.images):
        if image.id in found:
            raise ValueError(
                f"{path}: images.{number}.id {image.id} comes twice: give every expression an id "
                "of its own"
            )
        found[image.id] = []
    for number, item in enumerate(data.annotations):
        if item.category_id not in names:
            raise ValueError(
                f"{path}: annotations.{number}.category_id {item.category_id} is none of its "
                "categories"
            )
        if item.image_id not in found:
            raise ValueError(
                f"{path}: annotations.{number}.image_id {item.image_id} is none of its images"
            )
        found[item.image_id].append(item)
    return found


class _Boxes:
    """The boxes of an image file, each once."""

    def __init__(self) -> None:
        self.found: list[AnnotatedBox] = []
        self._indices: dict[tuple[BoxXYXY, str], int] = {}

    def index_of(self, box: AnnotatedBox) -> int:
        """Of the box of that place and name; of its descriptions the first one stays."""
        index = self._indices.setdefault((box.box_xyxy, box.label), len(self.found))
        if index == len(self.found):
            self.found.append(box)
        return index


def _merged(
    entry: Entry,
    images: Sequence[_Image],
    said_of: Mapping[int, Sequence[_Annotation]],
    names: Mapping[Id, str],
    problems: Counter[str],
) -> Entry:
    """The entry of a file with all that its expressions say."""
    boxes = _Boxes()
    expressions = []
    for image in images:
        items = said_of[image.id]
        alone = len(items) == 1
        indices = [
            boxes.index_of(_box_of(item, names, image.caption, alone=alone)) for item in items
        ]
        expressions.append(_expression_of(image.caption, items, indices, problems))
    caption, phrases = joined(expressions)
    sizes = [(one.width, one.height) if one.width and one.height else None for one in images]
    return with_one_size(
        replace(entry, annotations=tuple(boxes.found), caption=caption, phrases=phrases), sizes
    )


def _box_of(
    item: _Annotation, names: Mapping[Id, str], caption: str, *, alone: bool
) -> AnnotatedBox:
    words = (caption[max(start, 0) : end] for start, end in item.tokens_positive)
    return AnnotatedBox(
        xyxy_of(*item.bbox),
        names[item.category_id],
        crowd=bool(item.iscrowd),
        description=clean_text(caption if alone else " ".join(words)),
    )


def _expression_of(
    caption: str, items: Iterable[_Annotation], boxes: Sequence[int], problems: Counter[str]
) -> Expression:
    """With a phrase per span. A caption without spans is one phrase as a whole, and so is one that
    has to be cleaned, for then its spans count no longer."""
    text = with_newlines(caption).rstrip()
    of_span: defaultdict[Span, list[int]] = defaultdict(list)
    for item, box in zip(items, boxes, strict=True):
        for start, end in item.tokens_positive:
            if 0 <= start < end <= len(text):
                of_span[start, end].append(box)
            else:
                problems["span"] += 1
    if not of_span or not is_readable(text):
        return expression_of(caption, boxes)
    phrases = (AnnotatedPhrase(*span, tuple(found)) for span, found in sorted(of_span.items()))
    return Expression(text, tuple(phrases))
