"""What a reader lists: entries, in a fixed order, before anybody has opened an image."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from opendet.masks import Segmentation
from opendet.record import BoxXYXY, Turn

MAX_KEY = 90
MEND = "mend the batch in source.yaml"
"""What to do about a file that is not where the card says."""
_UNFIT_FOR_KEYS = re.compile(r"[^0-9A-Za-z_-]+")
# Control characters, separators that break lines, and halves of characters that UTF-8 cannot hold.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_MAX_NAME = 255  # bytes of one step of a path, on all common file systems


class RefusedError(ValueError):
    """Why one image cannot be taken. The source stage turns it into a `Dropped`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class AnnotatedBox:
    """A box as the source has it, unchecked."""

    box_xyxy: BoxXYXY
    """Pixels, 0-based and half-open; in the frame that the entry's declared size speaks of."""
    label: str
    crowd: bool = False
    other_labels: tuple[str, ...] = ()
    """Further words of the source for it."""
    description: str = ""
    """The source's sentence about it."""
    score: float | None = None
    """How sure whoever drew the box was, where the source says so."""
    mask: Segmentation | None = None
    """In the frame of the box."""


@dataclass(frozen=True, slots=True)
class AnnotatedPhrase:
    """A span of the entry's caption, and the boxes that it speaks of."""

    start: int
    end: int
    boxes: tuple[int, ...]
    """Indices into the entry's annotations."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One image that a batch speaks of."""

    key: str
    """`<batch>-<stem>`, fit for a record."""
    batch: str
    file: str
    """Below the batch's root, with forward slashes; for a scene, the file it is drawn into."""
    annotations: tuple[AnnotatedBox, ...] = ()
    annotation_file: str = ""
    """Where the annotations are, for a format with a file per image: the worker reads it."""
    captions: tuple[str, ...] = ()
    caption: str = ""
    """The text that the phrases are spans of, to be kept to the letter."""
    phrases: tuple[AnnotatedPhrase, ...] = ()
    tags: tuple[str, ...] = ()
    conversation: tuple[Turn, ...] = ()
    absent: tuple[str, ...] = ()
    """Names that were looked for and are not there."""
    partial: tuple[str, ...] = ()
    """Names of which more is there than has a box."""
    declared_size: tuple[int, int] | None = None
    """Width and height as the annotations have them."""
    normalised: bool = False
    """Boxes are in [0, 1] of the image as it is stored: the worker, who opens it, scales them."""
    licence: str = ""
    """The image's own, where the source knows one."""
    scene: int | None = None
    """The number of a scene that is still to be drawn."""
    problem: str = ""
    """Why it cannot be taken, as far as that shows already."""
    problem_detail: str = ""
    """What of it concerns this image alone, such as the line that is broken."""


def key_of(batch: str, name: str) -> str:
    """The key of a file, of its path without its suffix.

    Where characters had to go, or the end, a hash of the name keeps different names apart.
    """
    path = PurePosixPath(name)
    stem = str(path.with_suffix("")) if path.name else name
    fit = _UNFIT_FOR_KEYS.sub("_", stem)
    if fit == stem and len(batch) + 1 + len(stem) <= MAX_KEY:
        return f"{batch}-{stem}"
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{batch}-{fit[: MAX_KEY - len(batch) - 10]}-{digest}"


def entry_of(batch: str, folder: str, name: str) -> Entry:
    """The bare entry of a file that the source calls `name` below `folder`.

    A name that leaves the root, or that no file can have, becomes a problem and is never opened.
    """
    file = f"{folder}/{name}" if folder else name
    return Entry(key_of(batch, name), batch, printable(file), problem=_problem_of(file))


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Sorted by key; of entries with one key, all but the first are a problem."""
    ordered = sorted(entries, key=lambda entry: (entry.key, entry.file))
    for i in range(1, len(ordered)):
        if ordered[i].key == ordered[i - 1].key:
            ordered[i] = replace(ordered[i], problem="duplicate key")
    return ordered


def with_one_size(entry: Entry, sizes: Iterable[tuple[int, int] | None]) -> Entry:
    """The entry of several lines with the size that they declare.

    Where they declare different ones it is a problem: nobody knows which boxes are of which.
    """
    declared = list(dict.fromkeys(size for size in sizes if size))
    if len(declared) > 1 and not entry.problem:
        told = " and ".join(f"{width}x{height}" for width, height in declared[:2])
        detail = f"{entry.file} has lines of {told}"
        return replace(entry, problem="lines of different sizes", problem_detail=detail)
    return replace(entry, declared_size=declared[0] if declared else None)


def clean_text(text: str) -> str:
    """Without control characters and doubled spaces. Markup stays: it is data, never run."""
    return " ".join(_UNPRINTABLE.sub(" ", text).split())


def is_readable(text: str) -> bool:
    """Whether it has no control characters but tabs and newlines: fit to be kept to the letter."""
    return not _UNPRINTABLE.search(text.replace("\t", " ").replace("\n", " "))


def with_newlines(text: str) -> str:
    """Every line ends with a newline alone, and no character moves: its spans stay right."""
    return text.replace("\r\n", " \n").replace("\r", "\n")


def printable(name: str) -> str:
    """A file name that can be written down: what is not UTF-8 in it becomes an escape."""
    return name.encode(errors="backslashreplace").decode()


def _problem_of(file: str) -> str:
    steps = file.split("/")
    if file.startswith("/") or ".." in steps:
        return "file outside the root"
    if _UNPRINTABLE.search(file) or any(len(step.encode()) > _MAX_NAME for step in steps):
        return "unusable file name"
    return ""
