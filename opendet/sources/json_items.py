"""A JSON file that is one list of objects, typed, and read object by object.

For files of hundreds of megabytes: parsed whole, they take many times their size in memory.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

CHUNK = 1_000_000
"""Characters that are read at a time."""
_BLANK = " \t\n\r"


def read_json_items(kind: type[T], path: Path, *, mend: str = "") -> Iterator[T]:
    """Raises ValueError, on the way, in one line that names file and place; `mend` says what to do
    about a file that is not there."""
    adapter = TypeAdapter(kind)
    for number, item in enumerate(_items(path, mend)):
        try:
            yield adapter.validate_python(item)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(step) for step in (number, *first["loc"]))
            raise ValueError(f"{path}: {where}: {first['msg']}") from error


def _items(path: Path, mend: str) -> Iterator[Any]:
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for item in _objects_of(_Text(file)):
                yield item
                number += 1
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing" + (f": {mend}" if mend else "")) from error
    except IsADirectoryError as error:
        raise ValueError(f"{path} is a folder: name a JSON file in it") from error
    except (ValueError, RecursionError) as error:
        said = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise ValueError(f"{path}: {number}: {said}") from error


class _Text:
    """What is read of a file and not yet used."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._held = ""
        self._place = 0

    def peek(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            while self._place < len(self._held):
                if self._held[self._place] not in _BLANK:
                    return self._held[self._place]
                self._place += 1
            if not self._more():
                return ""

    def skip(self) -> None:
        self._place += 1

    def value(self, decoder: json.JSONDecoder) -> Any:
        """The value that begins here. Whether it is broken or only goes on shows at the file's end:
        as more is read each time, that takes no more than twice the work."""
        while True:
            try:
                value, self._place = decoder.raw_decode(self._held, self._place)
            except ValueError:
                if not self._more():
                    raise
            else:
                return value

    def _more(self) -> bool:
        self._held = self._held[self._place :]
        self._place = 0
        read = self._file.read(max(CHUNK, len(self._held)))
        self._held += read
        return bool(read)


def _objects_of(text: _Text) -> Iterator[Any]:
    decoder = json.JSONDecoder()
    _expect(text, "[", "a list")
    if text.peek() == "]":
        text.skip()
    else:
        more = True
        while more:
            if text.peek() != "{":
                raise ValueError(f"an object is due, and not {text.peek()!r}")
            yield text.value(decoder)
            more = text.peek() == ","
            _expect(text, "," if more else "]", "`,` or the list's end")
    if text.peek():
        raise ValueError(f"the file is to end here, and not to go on with {text.peek()!r}")


def _expect(text: _Text, character: str, what: str) -> None:
    if text.peek() != character:
        raise ValueError(f"{what} is due, and not {text.peek()!r}")
    text.skip()
