"""Markdown that GitHub shows as it was meant: escaped words, tables, headings and their anchors."""

import re
from collections.abc import Iterable, Sequence

NOTICE = "<!-- Written by `python -m opendet.reference` from the code: change that, not this. -->"
PIPE = r"\|"
"""What a pipe is inside a table, in code too."""
_CODE = re.compile(r"(`[^`]*`)")
_NOTE = re.compile(r" \(spec/[^)]*\)")
"""Where the authors' notes have a formula: no file of the repository."""
_NOT_IN_ANCHOR = re.compile(r"[^\w\- ]")


def escaped(text: str) -> str:
    """A docstring's words in one line: what is no code cannot become a tag or an emphasis."""
    pieces = _CODE.split(_NOTE.sub("", " ".join(text.split())))
    return "".join(one if one.startswith("`") else _plain(one) for one in pieces)


def code(text: str) -> str:
    """Words as code; empty for none."""
    return f"`{text}`" if text else ""


def anchor(heading: str) -> str:
    """What GitHub calls a heading in links: `train.warmup` is `trainwarmup`."""
    return _NOT_IN_ANCHOR.sub("", heading.lower()).replace(" ", "-")


def link(heading: str, words: str = "") -> str:
    """A link to a heading of the same page."""
    return f"[{words or heading}](#{anchor(heading)})"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are Markdown in one line each; empty without rows."""
    lines = [_row(row) for row in rows]
    return "\n".join([_row(columns), _row(["---"] * len(columns)), *lines]) if lines else ""


def page(title: str, *blocks: str) -> str:
    """A whole page: blocks, of which empty ones fall away, with a line between them."""
    return "\n\n".join(block for block in (f"# {title}", NOTICE, *blocks) if block) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', PIPE) for cell in cells)} |"


def _plain(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", r"\*")
