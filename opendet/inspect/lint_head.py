"""Tells by its first bytes a file of another kind, such as COCO's, from a damaged file of lines.

What is damaged must be looked through; what never was a file of lines would flood the screen.
"""

from typing import Any

from pydantic_core import from_json

from opendet.inspect.lint_view import cut

HEAD_BYTES = 1 << 16
_BINARY_BYTES = 1 << 10
_FIRST_LINES = 8
"""That may be damaged until one tells that it is an image's."""
_KEYS = frozenset({"filename", "image", "grounding", "detection", "conversations"})
_BOM = b"\xef\xbb\xbf"


def other_kind(head: bytes) -> str:
    """Why a file that begins so is none of lines for images; empty where it may be one."""
    if b"\0" in head[:_BINARY_BYTES]:
        return "it is binary"
    lines = [line for line in head.removeprefix(_BOM).split(b"\n") if line.strip()][:_FIRST_LINES]
    if not lines:
        return ""
    first = lines[0].strip()
    if first == b"[" and len(lines) > 1 and not _is_whole(lines[1]):
        return "it is one JSON list over several lines"
    values = [_begun(line) for line in lines]
    if any(isinstance(value, dict) and value.keys() & _KEYS for value in values):
        return ""
    whole = _begun(head.removeprefix(_BOM))
    if isinstance(whole, dict) and len(lines) > 1 and _goes_on(lines[0]):
        return f"it is one JSON object over several lines{_with(whole)}"
    if isinstance(values[0], dict) and isinstance(values[0].get("images"), list):
        return f"its first object is not of one image{_with(values[0])}"
    if values[0] is None and not any(line.strip().startswith(b"{") for line in lines):
        return f"its first line is no JSON, {cut(first.decode(errors='replace'))!a}"
    return ""


def _begun(raw: bytes) -> Any:
    """What JSON begins with, however it ends; None where it does not even begin."""
    try:
        return from_json(raw, allow_partial=True)
    except ValueError:
        return None


def _is_whole(line: bytes) -> bool:
    try:
        from_json(line)
    except ValueError:
        return False
    return True


def _goes_on(line: bytes) -> bool:
    """Whether a value that the line begins is not ended in it."""
    try:
        from_json(line)
    except ValueError as error:
        return str(error).startswith("EOF")
    return False


def _with(value: dict[str, Any]) -> str:
    keys = ", ".join(cut(key) for key in list(value)[:4])
    return f" (with {keys}), as COCO's" if "images" in value else f" (with {keys})" if keys else ""
