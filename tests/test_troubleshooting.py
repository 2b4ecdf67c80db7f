"""docs/troubleshooting.md quotes our own words: each quoted line and reason stands in the code."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ERRORS, LEDGER = PAGE.split("## Reasons in the ledger")
QUOTED = re.findall(r"^\*\*`(.+)`\*\*$", ERRORS, re.MULTILINE)
ALSO = re.findall(r"In the code:\s+`([^`]+)`", ERRORS)
REASONS = [
    reason
    for cell in re.findall(r"^\| (`[^|]+) \|", LEDGER, re.MULTILINE)
    for reason in re.findall(r"`([^`]+)`", cell)
]
BLANK = "…"


@cache
def texts() -> str:
    """Every string of the library, one a line, with a blank for each value that is put into it."""
    found = []
    for path in sorted((ROOT / "opendet").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(_piece(one) for one in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(" ".join(text.split()) for text in found)


def _piece(node: ast.expr) -> str:
    constant = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return str(node.value) if constant else BLANK  # type: ignore[attr-defined]


def pieces(quoted: str) -> list[str]:
    """What stands between the blanks, as far as it says anything."""
    return [one.strip() for one in quoted.split(BLANK) if len(one.strip(" .,:;()?")) > 2]


def said(piece: str) -> bool:
    """Whether one string has it, or two of which one ends with its beginning."""
    if piece in texts():
        return True
    halves = [(piece[:cut].rstrip(), piece[cut:].lstrip()) for cut in range(4, len(piece) - 3)]
    return any(
        re.search(rf"{re.escape(one)} ?(?:{BLANK}|$)", texts(), re.MULTILINE)
        and re.search(rf"(?:^|{BLANK}) ?{re.escape(other)}", texts(), re.MULTILINE)
        for one, other in halves
    )


@pytest.mark.parametrize("quoted", [*QUOTED, *ALSO])
def test_the_error_is_ours(quoted: str) -> None:
    told = pieces(quoted)
    assert told, "a line of nothing but blanks"
    for piece in told:
        if not said(piece):
            pytest.fail(f"no string of opendet/ says: {piece}")


@pytest.mark.parametrize("reason", REASONS)
def test_the_reason_is_ours(reason: str) -> None:
    assert reason in texts().splitlines()


def test_there_is_enough_of_it() -> None:
    assert len(QUOTED) >= 30
    assert len(set(QUOTED)) == len(QUOTED)
    assert len(REASONS) >= 20


def test_every_reason_of_the_filter_is_explained() -> None:
    from opendet.record import NAME_REFUSALS

    assert set(REASONS) >= NAME_REFUSALS
