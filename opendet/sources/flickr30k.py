"""Flickr30k Entities: `Sentences/<id>.txt`, five captions with their phrases marked, and
`Annotations/<id>.xml`, the boxes of the phrases' chains.

A phrase is marked `[/EN#<chain>/<type>/... <words>]`; phrases of all five captions that speak of
one thing share a chain. The caption itself is what stays when the marks are taken away.

An entry has one grounded caption: `sentence` chooses it, and the other captions are plain ones.
Its phrases keep their spans even where they have no box: a chain that is the scene, that nobody
found, or chain 0, which is not visual. So no later stage grounds them by their words.

Flickr has no class names. A box is called by the first words that speak of its chain in any of the
captions, without their article; a box of several chains has the others' words beside it.

Like VOC it counts pixels from 1 and ends on the last pixel inside. Both files are read at once:
they are small, and reading 31,783 images takes about ten seconds.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from opendet.sources.listing import (
    AnnotatedBox,
    AnnotatedPhrase,
    Entry,
    RefusedError,
    clean_text,
    entry_of,
    in_order,
)
from opendet.sources.text_lines import read_lines, without_suffix
from opendet.sources.xml_file import read_xml

BOXES, SENTENCES, UNRELATED = "Annotations", "Sentences", "UNRELATED_CAPTIONS"
MAX_SENTENCES_BYTES = 100_000

_PHRASE = re.compile(r"\[/EN#(\d+)(?:/[^\s\[\]]*)? ([^\[\]]*[^\[\]\s]) ?\]")
_ARTICLE = re.compile(r"(?:an?|the) ", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Mention:
    """A span of a sentence that speaks of a chain."""

    chain: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Sentence:
    """A caption without its marks, and what was marked."""

    text: str
    mentions: tuple[Mention, ...]


@dataclass(frozen=True, slots=True)
class _ChainBox:
    chains: tuple[str, ...]
    box_xyxy: tuple[float, float, float, float]


def list_flickr30k(
    root: Path, *, batch: str, images: str, annotations: str, names: str = "", sentence: int = 0
) -> list[Entry]:
    """The images that the list `names` has, such as `train.txt`, or all that have sentences.

    The grounded caption is number `sentence`, 0 to 4, or the first where there is no such number.
    Captions that `UNRELATED_CAPTIONS` of the folder `annotations` has are left out.

    Raises ValueError, in one line, for a folder or list that is missing or broken. An image whose
    own files are becomes a problem.
    """
    folder = root / annotations
    for part in (BOXES, SENTENCES):
        if not (folder / part).is_dir():
            raise ValueError(f"{folder} has no folder {part}: mend the batch in source.yaml")
    unrelated = _read_unrelated(folder / UNRELATED)
    if names:
        numbers = [without_suffix(line) for line in read_lines(root / names) if line]
    else:
        numbers = _numbers_in(folder / SENTENCES)
    return in_order(
        _annotated(
            entry_of(batch, images, f"{number}.jpg"), folder, number, sentence, unrelated[number]
        )
        for number in numbers
    )


def parse_sentence(line: str) -> Sentence:
    """A line without its marks, and their spans. Raises ValueError for half a mark."""
    marked = clean_text(line)
    text = ""
    mentions = []
    end = 0
    for match in _PHRASE.finditer(marked):
        text += marked[end : match.start()]
        mentions.append(Mention(match[1], len(text), len(text) + len(match[2])))
        text += match[2]
        end = match.end()
    text += marked[end:]
    if "/EN#" in text:
        raise ValueError(f"a broken mark in {text[:100]!r}")
    return Sentence(text, tuple(mentions))


def _annotated(
    entry: Entry, folder: Path, number: str, choice: int, unrelated: Iterable[int]
) -> Entry:
    if entry.problem:  # no name of a file: nothing of it is opened
        return entry
    try:
        sentences = _read_sentences(folder / SENTENCES / f"{number}.txt")
        size, boxes = _read_boxes(folder / BOXES / f"{number}.xml")
    except RefusedError as refusal:
        return replace(entry, problem=refusal.reason, problem_detail=refusal.detail)
    labels = _labels_of(sentences.values())
    captions = {n: found for n, found in sentences.items() if n not in unrelated}
    chosen = captions.pop(choice if choice in captions else min(captions, default=-1), None)
    return replace(
        entry,
        annotations=tuple(_labelled(box, labels) for box in boxes),
        captions=tuple(caption.text for caption in captions.values()),
        caption=chosen.text if chosen else "",
        phrases=_grounded(chosen, boxes) if chosen else (),
        declared_size=size,
    )


def _grounded(sentence: Sentence, boxes: Sequence[_ChainBox]) -> tuple[AnnotatedPhrase, ...]:
    of_chain: defaultdict[str, list[int]] = defaultdict(list)
    for index, box in enumerate(boxes):
        for chain in box.chains:
            of_chain[chain].append(index)
    return tuple(
        AnnotatedPhrase(mention.start, mention.end, tuple(of_chain[mention.chain]))
        for mention in sentence.mentions
    )


def _labels_of(sentences: Iterable[Sentence]) -> dict[str, str]:
    """Each chain's first words."""
    labels: dict[str, str] = {}
    for sentence in sentences:
        for mention in sentence.mentions:
            labels.setdefault(mention.chain, _label_of(sentence.text, mention))
    return labels


def _label_of(text: str, mention: Mention) -> str:
    """Without the article, and without the capital of the sentence's first word."""
    words = text[mention.start : mention.end]
    if article := _ARTICLE.match(words):
        return words[article.end() :]
    capital = mention.start == 0 and words[1:2].islower()
    return words[0].lower() + words[1:] if capital else words


def _labelled(box: _ChainBox, labels: Mapping[str, str]) -> AnnotatedBox:
    """An unspoken chain gives no label: where labels are checked, that is counted."""
    first, *others = dict.fromkeys(labels[chain] for chain in box.chains if chain in labels) or [""]
    return AnnotatedBox(box.box_xyxy, first, other_labels=tuple(others))


def _read_sentences(path: Path) -> dict[int, Sentence]:
    """By number, from 0. Raises RefusedError for a file that is missing or broken."""
    if not path.is_file():
        raise RefusedError("missing annotation", path.name)
    if path.stat().st_size > MAX_SENTENCES_BYTES:
        raise RefusedError("broken annotation", f"{path.name} is no file of five sentences")
    try:
        lines = path.read_text("utf-8-sig").split("\n")
        return {n: parse_sentence(line) for n, line in enumerate(lines) if line.strip()}
    except ValueError as error:
        raise RefusedError("broken annotation", f"{path.name}: {error}") from error


def _read_boxes(path: Path) -> tuple[tuple[int, int] | None, list[_ChainBox]]:
    """The declared size and the boxes. Raises RefusedError for a file that is missing or broken."""
    root = read_xml(path)
    try:
        width, height = (int(root.findtext(f"size/{side}") or 0) for side in ("width", "height"))
        boxes = [_box_of(item) for item in root.iterfind("object[bndbox]")]
    except ValueError as error:
        raise RefusedError("broken annotation", f"{path.name}: {error}") from error
    return (width, height) if width > 0 and height > 0 else None, boxes


def _box_of(item: ElementTree.Element) -> _ChainBox:
    corners = [item.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    x0, y0, x1, y1 = (float(corner or "") for corner in corners)
    chains = tuple((name.text or "").strip() for name in item.iterfind("name"))
    return _ChainBox(chains, (x0 - 1, y0 - 1, x1, y1))


def _numbers_in(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.txt") if not path.name.startswith("."))


def _read_unrelated(path: Path) -> defaultdict[str, set[int]]:
    """Image -> the numbers, from 0, of captions that speak of another one."""
    unrelated: defaultdict[str, set[int]] = defaultdict(set)
    if not path.exists():
        return unrelated
    for place, line in enumerate(filter(None, read_lines(path)), start=1):
        if line.startswith("#"):
            continue
        fields = line.split()
        if len(fields) != 2 or not fields[1].isdecimal():
            raise ValueError(f"{path}: entry {place} is not an image and a number: {line[:100]!r}")
        unrelated[without_suffix(fields[0])].add(int(fields[1]) - 1)  # the file counts from 1
    return unrelated
