"""Markdown as the plain text that it dresses."""

import re

from opendet.curate.text import clean_text

BULLET = re.compile(r"\s*(?:[-*•‣▪–]|\(?\d{1,3}[.)])\s+")
_HEADING = re.compile(r"\s*#{1,6}\s")
_RULE = re.compile(r"\s*(?:[-*_=|:]\s*){3,}\Z|\s*```\w*\s*\Z")
_LINK = re.compile(r"!?\[([^\][]{1,200})\]\([^()\s]{0,500}\)")
EMPHASIS = re.compile(r"\*{1,3}|(?<!\w)_{1,3}(?=\w)|(?<=\w)_{1,3}(?!\w)|`+")


def flattened(text: str) -> str:
    """Markdown as one line: each item of a list becomes a sentence, and headings go, unless there
    is nothing else."""
    every = text.splitlines()
    lines = [plain(line) for line in every if not is_markup(line)]
    if not any(lines):
        lines = [plain(_HEADING.sub("", line)) for line in every if _HEADING.match(line)]
    several = len(lines) > 1
    ended = [
        f"{line}." if several and line and line[-1].isalnum() and _ends(lines, place) else line
        for place, line in enumerate(lines)
    ]
    line = clean_text(" ".join(_without_bullet(line) for line in ended))
    for opening, closing in (('"', '"'), ("“", "”"), ("'", "'")):
        inner = line[1:-1]
        if line[:1] == opening and line[-1:] == closing and not {opening, closing} & set(inner):
            line = inner.strip()
    return line


def is_markup(line: str) -> bool:
    return bool(_HEADING.match(line) or _RULE.match(line))


def plain(line: str) -> str:
    """A line without emphasis and links; a bullet stays, to be seen by the next step."""
    bullet = BULLET.match(line)
    rest = line[bullet.end() :] if bullet else line
    words = EMPHASIS.sub("", _LINK.sub(r"\1", rest)).strip()
    return f"- {words}" if bullet and words else words


def _without_bullet(line: str) -> str:
    bullet = BULLET.match(line)
    return line[bullet.end() :] if bullet else line


def _ends(lines: list[str], place: int) -> bool:
    """Whether a line of words ends here, and does not go on in the next one."""
    following = lines[place + 1] if place + 1 < len(lines) else ""
    return not following or bool(BULLET.match(following)) or bool(BULLET.match(lines[place]))
