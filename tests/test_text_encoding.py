"""Text files are UTF-8 in any locale: nowhere is that left to the machine."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MEASURING = {"bench", "faults"}
"""Packages that only measure, with texts of their own."""


def lines_left_to_the_locale(source: str) -> list[int]:
    """Where text is read or written by name, or a file opened for it, without an encoding."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or any(one.arg == "encoding" for one in node.keywords):
            continue
        match node.func, node.args:
            case (ast.Attribute(attr="read_text"), []) | (ast.Attribute(attr="write_text"), [_]):
                found.append(node.lineno)
            case (
                (ast.Attribute(value=ast.Name(id="path")) | ast.Name(id="open")) as called,
                [*_, ast.Constant(value=str(mode))],
            ) if "b" not in mode and getattr(called, "attr", "open") == "open":
                found.append(node.lineno)
    return found


def test_no_text_is_left_to_the_locale() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for folder in ("opendet", "pipelines")
        for path in (ROOT / folder).rglob("*.py")
        if not MEASURING & {*path.parts}
        for line in lines_left_to_the_locale(path.read_text("utf-8"))
    }
    assert found == set()


def test_what_is_left_to_the_locale_is_seen() -> None:
    left = 'path.read_text()\npath.write_text(text)\nopen(path, "a")\npath.open("w")\n'
    assert lines_left_to_the_locale(left) == [1, 2, 3, 4]
    told = 'path.read_text("utf-8")\npath.write_text(text, "utf-8")\nopen(path, "rb")\n'
    assert lines_left_to_the_locale(f'{told}path.open("w", encoding="utf-8")\n') == []
