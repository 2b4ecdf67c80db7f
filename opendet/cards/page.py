"""Markdown of texts that are the data's: nothing in them is markup, a column or a tag."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from opendet.console import printable

_MARKS = re.compile(r"[\\`*\[\]|~#]|(?<![^\W_])_|_(?![^\W_])")
"""What would be code, emphasis, a link, a column or a heading. A single underscore
within a word is none."""
_TAGS = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_TAG = re.compile(r"[&<>]")
LONGEST = 200
"""Characters of a text that is told in a line."""


def said(text: str, *, longest: int = LONGEST) -> str:
    """A text in one line, as it is to be read, cut where it is too long."""
    line = " ".join(printable(text).split())
    if len(line) > longest:
        line = f"{line[: longest - 1]}…"
    return _TAG.sub(lambda mark: _TAGS[mark[0]], _MARKS.sub(r"\\\g<0>", line))


def coded(text: str) -> str:
    """A text as code, in which no mark has a meaning but its end and a table's column."""
    line = " ".join(printable(text).split()).replace("`", "'").replace("|", "\\|")
    return f"`{line}`"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table of texts that are escaped already, and an empty one."""
    yield f"| {' | '.join(columns)} |"
    yield "|" + " --- |" * len(columns)
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def section(title: str, lines: Iterable[str]) -> Iterator[str]:
    """A heading and what is below it; nothing where nothing is."""
    found = list(lines)
    if found:
        yield f"## {title}"
        yield ""
        yield from found
        if found[-1]:
            yield ""


def with_header(header: Mapping[str, Any], lines: Iterable[str]) -> str:
    """A whole page: the YAML header of the Hugging Face hub, what is empty left out, and lines."""
    told = {key: _in_line(value) for key, value in header.items() if value}
    dumped = yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{dumped}---\n\n" + "\n".join(lines).rstrip() + "\n"


def _in_line(value: Any) -> Any:
    """YAML would let through what turns the direction of writing: a card is printed, too."""
    match value:
        case str():
            return " ".join(printable(value).split())
        case Mapping():
            return {key: _in_line(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_in_line(inner) for inner in value]
    return value


def number(value: int) -> str:
    """With commas, as in 1,400."""
    return f"{value:,}"


def share(part: int, whole: int) -> str:
    """As in 12 %; empty of nothing."""
    return f"{100 * part / whole:.3g} %" if whole else ""
