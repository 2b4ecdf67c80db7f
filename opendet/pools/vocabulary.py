"""Lists of names from files: LVIS's categories with tiers and synonyms, COCO-like ones, text."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from opendet.evaluation.annotations import CategoryEntry
from opendet.pools.names import plain, without_gloss
from opendet.sources.lvis import as_written
from opendet.typed_json import read_json

_TIERS = {"r": "rare", "c": "common", "f": "frequent"}
_ALL = "all"
LONGEST_NAME = 100
"""Characters; a longer line is no name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing of a vocabulary."""

    name: str
    """As people write it."""
    synonyms: tuple[str, ...] = ()
    tier: str = ""
    """`rare`, `common` or `frequent`, where the file tells."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a vocabulary has a prototype of its name."""

    tier: str
    """`all`, or a tier."""
    entries: int
    coarse: int
    """Entries of which a coarse prototype has the name or a synonym."""
    fine: int
    either: int


def read_vocabulary(path: Path) -> tuple[Entry, ...]:
    """The things that a file names, in the order of their ids or lines.

    JSON: a list of names, a list of categories (`name`, `id`; LVIS's `frequency` and `synonyms`) or
    an object with such a list as `categories`. Other files: a name a line; # begins a comment.
    Raises ValueError, in one line, for a file of another kind.
    """
    entries = _of_json(path) if path.suffix == ".json" else _of_lines(path)
    if not entries:
        raise ValueError(f"{path} names nothing")
    return entries


def coverage(
    entries: Sequence[Entry], coarse_names: Iterable[str], fine_names: Iterable[str]
) -> tuple[Coverage, ...]:
    """Of all entries, then of each tier that there is, the rarest first. Names are compared in
    their plain forms; what LVIS adds in brackets may be missing, so one `bow` covers its two."""
    coarse, fine = _forms(coarse_names), _forms(fine_names)
    tiers = [tier for tier in _TIERS.values() if any(one.tier == tier for one in entries)]
    return tuple(
        _coverage(tier, [one for one in entries if tier in (_ALL, one.tier)], coarse, fine)
        for tier in (_ALL, *tiers)
    )


def _coverage(
    tier: str, entries: Sequence[Entry], coarse: Collection[str], fine: Collection[str]
) -> Coverage:
    forms = [_forms((one.name, *one.synonyms)) for one in entries]
    in_coarse = [not own.isdisjoint(coarse) for own in forms]
    in_fine = [not own.isdisjoint(fine) for own in forms]
    either = sum(one or other for one, other in zip(in_coarse, in_fine, strict=True))
    return Coverage(tier, len(entries), sum(in_coarse), sum(in_fine), either)


def _forms(names: Iterable[str]) -> frozenset[str]:
    own = {plain(name) for name in names}
    return frozenset(own | {without_gloss(one) for one in own})


def _of_json(path: Path) -> tuple[Entry, ...]:
    found: Any = read_json(object, path)
    if isinstance(found, dict) and "categories" not in found:
        raise ValueError(
            f"{path} is no list of names: it is an object without `categories` (it has "
            f"{', '.join(map(str, list(found)[:4])) or 'nothing'})"
        )
    listed = found["categories"] if isinstance(found, dict) else found
    try:
        if isinstance(listed, list) and all(isinstance(one, str) for one in listed):
            return tuple(Entry(as_written(name)) for name in listed)
        categories = _CATEGORIES.validate_python(listed)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "its root"
        raise ValueError(f"{path} is no list of names: {where}: {first['msg']}") from error
    return tuple(_entry(one) for one in sorted(categories, key=lambda one: one.id))


_CATEGORIES: TypeAdapter[tuple[CategoryEntry, ...]] = TypeAdapter(tuple[CategoryEntry, ...])


def _entry(category: CategoryEntry) -> Entry:
    synonyms = tuple(as_written(one) for one in category.synonyms if one != category.name)
    return Entry(category.words, synonyms, _TIERS.get(category.frequency, ""))


def _of_lines(path: Path) -> tuple[Entry, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing") from error
    except (UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{path} is no text of names, one a line: {error}") from error
    names = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if long := next((name for name in names if len(name) > LONGEST_NAME), ""):
        raise ValueError(
            f"{path} is no list of names, one a line: {long[:40]!r}... has {len(long)} characters"
        )
    return tuple(map(Entry, names))
