"""What the pages for people name: commands, YAML, keys, files and links, each with its place."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_HISTORY = {"benchmarks", "decisions", "log"}
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *sorted(
        path.relative_to(ROOT).as_posix()
        for pattern in ("*.md", "guides/*.md")
        for path in (ROOT / "docs").glob(pattern)
        if path.stem not in _HISTORY
    ),
)
"""Written by hand, for people who use it; the history tells of what was once so."""

_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_ASSIGNMENT = re.compile(r"[A-Z_][A-Z0-9_]*=\S*")
_COMMAND = re.compile(r"(?:[A-Z_][A-Z0-9_]*=\S* )*(?:opendet|dvc|make|python|torchrun|docker) ")
"""How a line begins that this project answers for; others are another program's, or no command."""
_OPERATORS = {"|", ">", ">>", "&&", ";", "&", "||", "<"}


@dataclass(frozen=True, slots=True)
class Said:
    """Something that a page says."""

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def shell_lines() -> Iterator[Said]:
    """Every command line of an indented or shell block."""
    for page in PAGES:
        text = _text(page)
        shell = "".join(body for kind, body in _FENCE.findall(text) if kind in ("bash", "sh"))
        indented = "\n".join(
            line[4:] for line in _FENCE.sub("", text).splitlines() if line.startswith("    ")
        )
        for line in f"{shell}\n{indented}".replace("\\\n", " ").splitlines():
            if _COMMAND.match(line.strip()):
                yield Said(page, " ".join(line.split()))


def spans() -> Iterator[Said]:
    """Every piece of code within a line."""
    for page in PAGES:
        for text in _SPAN.findall(_FENCE.sub("", _text(page))):
            yield Said(page, text)


def yaml_blocks() -> Iterator[Said]:
    for page in PAGES:
        for kind, body in _FENCE.findall(_text(page)):
            if kind == "yaml":
                yield Said(page, body)


def links() -> Iterator[Said]:
    """Where links lead that stay in the repository."""
    for page in PAGES:
        for target in _LINK.findall(_FENCE.sub("", _text(page))):
            if not target.startswith("http"):
                yield Said(page, target)


def words_of(line: str) -> list[list[str]]:
    """A shell line's commands, each in its words, without the variables before it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    for word in lexer:
        if word in _OPERATORS:
            commands.append([])
        elif commands[-1] or not _ASSIGNMENT.fullmatch(word):
            commands[-1].append(word)
    return [words for words in commands if words]


def commands_of(program: str) -> list[Said]:
    """Every command line of a program in the blocks of all pages."""
    return [
        Said(said.page, shlex.join(words[1:]))
        for said in shell_lines()
        for words in words_of(said.text)
        if words[0] == program
    ]


def _text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")
