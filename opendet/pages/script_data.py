"""Data for pages without a server: a script that hands one JSON value to the page, and no more.

A browser lets a page of `file:` fetch nothing but may run a script beside it. Such a script is one
call, `OpenDet.take(path, value)`. Whatever is in the value stays a value: everything outside of
ASCII and each `<` is escaped, so neither a line separator nor the end of a script's element can be
in it, and data is never the key of an object, where `__proto__` would be more than a word.
"""

import json
from typing import Any

_LESS = r"\u003c"


def data_script(path: str, value: Any) -> bytes:
    """`path` is the script's own, as the page asks for it."""
    return script_of(path, plain_json(value))


def plain_json(value: Any) -> str:
    """In ASCII."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def script_of(path: str, text: str) -> bytes:
    """`text` is a value as `plain_json` writes it."""
    return f"OpenDet.take({json.dumps(path)},{text.replace('<', _LESS)});\n".encode()


def collection_path(side: str) -> str:
    return f"data/{side}/collection.js"


def index_path(side: str, piece: int) -> str:
    return f"data/{side}/{piece:04d}/index.js"


def cards_path(side: str, piece: int, chunk: int) -> str:
    return f"data/{side}/{piece:04d}/cards-{chunk}.js"


def details_path(side: str, piece: int, chunk: int) -> str:
    return f"data/{side}/{piece:04d}/details-{chunk}.js"


def picture_path(side: str, piece: int, place: int, size: str) -> str:
    """`size` is `small` or `large`; a folder holds a thousand of them."""
    return f"pictures/{side}/{piece:04d}/{place // 1000}/{place}-{size}.jpg"
