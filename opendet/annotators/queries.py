"""What a detector is asked to look for in an image: a curated vocabulary and what its texts speak
of (OWL-ST, Minderer et al. 2023).

Of the curated names alone, the N-grams alone and both, both are the best trade-off there: curated
names are cleaner, N-grams know what no list has. Prompt templates are the detector's own affair.
"""

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from opendet.annotators.ngrams import is_generic, ngrams_of
from opendet.record import Record
from opendet.section import Section

_ARTICLE = re.compile(r"^(?:(?:an?|the|some)\s+)+", re.IGNORECASE)
_COMMENT = "#"
LONGEST_NAME = 100
"""Characters of a name in a vocabulary's file."""


class QueriesConfig(Section):
    """What to look for in each image."""

    vocabulary: tuple[str, ...] = ()
    """Names to look for in every image."""
    vocabulary_file: Path | None = None
    """More of them, one a line, in a text file of the project; a line that begins with # is none.
    """
    tags: bool = True
    """Whether the record's tags are looked for."""
    caption_phrases: bool = True
    """Whether the noun phrases of the caption are looked for."""
    ngrams: bool = False
    """Whether runs of words of the caption and of the source's captions are looked for."""
    longest_ngram: int = Field(default=10, ge=1)
    """Words of the longest run."""
    max_queries: int = Field(default=300, ge=0)
    """Most queries of an image beside the vocabulary, which is always asked for whole: tags first,
    then noun phrases, then the shortest runs; of equally long runs chance, by the image's key,
    decides."""
    lower: bool = True
    """Whether queries are put in lower case. Runs of words always are."""

    @property
    def asks(self) -> bool:
        """Whether anything is looked for at all."""
        curated = bool(self.vocabulary or self.vocabulary_file)
        return curated or self.tags or self.caption_phrases or self.ngrams

    @model_validator(mode="after")
    def _inside(self) -> Self:
        path = self.vocabulary_file
        if path is not None and (path.is_absolute() or ".." in path.parts):
            raise ValueError(
                f"vocabulary_file {path} is outside of the project: put a copy into it, so that "
                "the build is one with its data"
            )
        return self


def curated_names(config: QueriesConfig, project: Path) -> tuple[str, ...]:
    """The vocabulary and the file's, each name once, in their order. Read once, not per image.

    Raises ValueError, in one line, where the file is not there or is no UTF-8 text.
    """
    names = [*config.vocabulary]
    if config.vocabulary_file is not None:
        names += _lines(project / config.vocabulary_file)
    return _distinct(_tidy(name, config) for name in names)


def queries_of(
    record: Record,
    noun_phrases: Sequence[str],
    config: QueriesConfig,
    curated: Sequence[str],
) -> tuple[str, ...]:
    """What to look for in one image, each once: `curated` (from `curated_names`) first, then what
    the record's own texts speak of. `noun_phrases` are those of its caption.

    The same record gives the same queries in the same order, on any machine.
    """
    known = frozenset(curated)
    own = (query for query in _own(record, noun_phrases, config) if query not in known)
    fitting = _distinct(own)[: config.max_queries]
    if config.ngrams:
        found = _ngrams(record, config.longest_ngram)
        room = config.max_queries - len(fitting)
        fitting += _some(record.key, [one for one in found if one not in {*known, *fitting}], room)
    return (*curated, *fitting)


def _own(record: Record, noun_phrases: Sequence[str], config: QueriesConfig) -> Iterator[str]:
    """Tags and noun phrases; a tag is a name, and a noun phrase may be generic."""
    if config.tags:
        yield from (_tidy(tag, config) for tag in record.tags)
    if config.caption_phrases:
        phrases = (_tidy(phrase, config) for phrase in noun_phrases)
        yield from (phrase for phrase in phrases if not is_generic(phrase.lower()))


def _ngrams(record: Record, longest: int) -> tuple[str, ...]:
    texts = dict.fromkeys((record.caption, *record.source_captions))
    found = _distinct(run for text in texts for run in ngrams_of(text, longest=longest))
    return tuple(sorted(found, key=lambda run: run.count(" ")))  # stable: in the texts' order


def _some(key: str, runs: Sequence[str], count: int) -> tuple[str, ...]:
    """At most so many, the shortest; they stay in their order."""
    drawn = sorted(runs, key=lambda run: (run.count(" "), zlib.crc32(f"{key} {run}".encode()), run))
    kept = frozenset(drawn[:count])
    return tuple(run for run in runs if run in kept)


def _tidy(name: str, config: QueriesConfig) -> str:
    text = _ARTICLE.sub("", " ".join(name.split()))
    return text.lower() if config.lower else text


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise ValueError(f"regions.queries.vocabulary_file: there is no file {path}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"regions.queries.vocabulary_file: {path} is no UTF-8 text: {error}"
        ) from error
    names = [line for line in lines if line.strip() and not line.lstrip().startswith(_COMMENT)]
    if not names:
        raise ValueError(f"regions.queries.vocabulary_file: {path} names nothing: one name a line")
    if long := next((name for name in names if len(name) > LONGEST_NAME), ""):
        raise ValueError(
            f"regions.queries.vocabulary_file: {path} is no list of names, one a line: "
            f"{long[:40]!r}... has {len(long)} characters"
        )
    return names
