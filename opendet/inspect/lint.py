"""Looks through grounding data for what would hurt training on it without a word.

`lint_lines` takes a public file of ODVG or GroundingCap lines, `lint_shards` the shards of a build;
both stream, and both see through the same rules (`opendet.inspect.lint_rules`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from opendet.inspect.lint_head import HEAD_BYTES, other_kind
from opendet.inspect.lint_kinds import KINDS, Finding, Place, Severity
from opendet.inspect.lint_line import view_of_line
from opendet.inspect.lint_rules import RULES
from opendet.inspect.lint_tokens import token_rule
from opendet.inspect.lint_view import GroundedImage, Rule, view_of_record
from opendet.manifest import read_manifest
from opendet.shard_reader import read_record, shard_entries

MAX_LINE_BYTES = 64 << 20
Placed = tuple[Place, Finding]
View = tuple[Place, GroundedImage | None, list[Finding]]


@dataclass(frozen=True, slots=True)
class LintConfig:
    """How strictly to look."""

    tokens: int = 256
    """The text encoder's budget, [CLS] and [SEP] among them."""
    vocabulary: Path | None = None
    """A WordPiece vocabulary file to count tokens with; without one they are bounded."""


@dataclass
class LintReport:
    """What was found, small however much it is: counts, and the first places of each kind."""

    first: int = 3
    """Places of each kind that are kept."""
    images: int = 0
    """Lines or records that were looked at."""
    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[Placed]] = field(default_factory=lambda: defaultdict(list))

    def add(self, place: Place, finding: Finding) -> None:
        self.counts[finding.kind] += 1
        kept = self.places[finding.kind]
        if len(kept) < self.first:
            kept.append((place, finding))

    @property
    def kinds(self) -> list[str]:
        """What was found, errors first, in the order of `KINDS`."""
        return [kind for kind in KINDS if self.counts[kind]]

    def count(self, severity: Severity) -> int:
        return sum(count for kind, count in self.counts.items() if KINDS[kind][0] is severity)


def lint_lines(path: Path, config: LintConfig, report: LintReport) -> LintReport:
    """Look through a file of lines.

    Raises OSError where the file cannot be read, and ValueError, in one line, for a broken
    vocabulary and for a file of another kind.
    """
    rules = _rules(config)
    with path.open("rb", buffering=HEAD_BYTES) as file:
        assert isinstance(file, BufferedReader)
        if why := other_kind(file.peek(HEAD_BYTES)):  # without reading on: it may be a pipe
            raise ValueError(f"{path} is no ODVG (one JSON object a line): {why}")
        return _report(_line_views(file, str(path)), rules, report, str(path))


def lint_shards(folder: Path, config: LintConfig, report: LintReport) -> LintReport:
    """Look through the records of a build's shards.

    Raises ValueError, in one line, where there are none, or one is damaged.
    """
    return _report(_record_views(folder), _rules(config), report, str(folder))


def lint_image(view: GroundedImage, rules: Iterable[Rule] = RULES) -> Iterator[Finding]:
    """What the rules say of one image."""
    for rule in rules:
        yield from rule(view)


class Repeats:
    """Knows the images that came before, and finds those that come again."""

    def __init__(self) -> None:
        self._images: dict[bytes, Place] = {}
        self._captioned: dict[bytes, Place] = {}

    def of(self, place: Place, image: GroundedImage) -> Iterator[Finding]:
        if image.file is None:
            return
        file, caption = _digest(image.file), _digest(image.file, image.caption or "")
        if caption in self._captioned:
            said = f"{image.file!r} stands at {self._captioned[caption]} with the same caption."
            yield Finding("line.repeated", "", said)
        elif file in self._images:
            said = f"{image.file!r} stands at {self._images[file]} with another caption."
            yield Finding("image.repeated", "", said)
        self._images.setdefault(file, place)
        self._captioned.setdefault(caption, place)


def _rules(config: LintConfig) -> tuple[Rule, ...]:
    return (*RULES, token_rule(config.tokens, config.vocabulary))


def _report(
    views: Iterable[View], rules: tuple[Rule, ...], report: LintReport, name: str
) -> LintReport:
    repeats = Repeats()
    for place, view, unfit in views:
        report.images += 1
        found = chain(repeats.of(place, view), lint_image(view, rules)) if view else ()
        for finding in chain(unfit, found):
            report.add(place, finding)
    if not report.images:
        report.add(Place(name), Finding("file.empty", "", "there is nothing to look at."))
    return report


def _line_views(file: BinaryIO, name: str) -> Iterator[View]:
    number = 0
    while raw := file.readline(MAX_LINE_BYTES):
        number += 1
        place = Place(name, number)
        if len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n"):
            _skip_line(file)
            said = f"it has more than {MAX_LINE_BYTES >> 20} MiB: expected one image a line."
            yield place, None, [Finding("line.too_long", "", said)]
        else:
            yield place, *view_of_line(raw)


def _skip_line(file: BinaryIO) -> None:
    while (raw := file.readline(MAX_LINE_BYTES)) and not raw.endswith(b"\n"):
        pass


def _record_views(folder: Path) -> Iterator[View]:
    for part in read_manifest(folder).parts:
        path = folder / f"{part.shard.name}.tar"
        entries = list(shard_entries(path))
        with path.open("rb") as file:
            for entry in entries:
                record = read_record(file, entry, where=str(path))
                yield Place(str(path), key=entry.key), *view_of_record(record)


def _digest(*texts: str) -> bytes:
    """16 bytes for texts of any length: a million of them are 100 MB and not a gigabyte."""
    joined = "\0".join(texts).encode("utf-8", "surrogatepass")
    return blake2b(joined, digest_size=16).digest()
