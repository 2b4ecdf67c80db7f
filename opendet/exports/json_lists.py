"""JSON files whose lists are too long for the memory: rows are written as they come.

A file is there under its name when all of it is.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from opendet.files import fsync_path


class SplitLists:
    """`<stem>_<split>.json` for every split that a row comes of: one object, with lists in it.

    A context: files appear at its end, and do not where it ends with an error.
    """

    def __init__(
        self, folder: Path, stem: str, *, head: Mapping[str, Any], lists: Sequence[str]
    ) -> None:
        """`head` is what stands before the lists, alike in every file."""
        self._folder = folder
        self._stem = stem
        self._head = head
        self._lists = lists
        self._files: dict[str, _ListsFile] = {}

    def add(self, split: str, name: str, row: Mapping[str, Any]) -> None:
        """A further row of the list of that name."""
        if split not in self._files:
            path = self._folder / f"{self._stem}_{split}.json"
            self._files[split] = _ListsFile(path, self._head, self._lists)
        self._files[split].add(name, row)

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        try:
            for file in self._files.values():
                if kind is None:
                    file.join()
        finally:
            for file in self._files.values():
                file.clear()


class _ListsFile:
    """One file; each of its lists grows in a file beside it until they are joined."""

    def __init__(self, path: Path, head: Mapping[str, Any], lists: Sequence[str]) -> None:
        self._path = path
        self._head = head
        self._whole = path.with_name(f".{path.name}.whole")
        self._parts: dict[str, IO[bytes]] = {}
        for name in lists:
            self._parts[name] = path.with_name(f".{path.name}.{name}").open("wb+")

    def add(self, name: str, row: Mapping[str, Any]) -> None:
        part = self._parts[name]
        part.write(b",\n" if part.tell() else b"\n")
        part.write(_text_of(row))

    def join(self) -> None:
        with self._whole.open("wb") as file:
            begin = b"{"
            for name, value in self._head.items():
                file.write(begin + _text_of(name) + b": " + _text_of(value))
                begin = b",\n"
            for name, part in self._parts.items():
                file.write(begin + _text_of(name) + b": [")
                part.seek(0)
                shutil.copyfileobj(part, file)
                file.write(b"\n]")
                begin = b",\n"
            file.write(b"}\n")
            file.flush()
            os.fsync(file.fileno())
        self._whole.replace(self._path)
        fsync_path(self._path.parent)

    def clear(self) -> None:
        for part in self._parts.values():
            part.close()
            Path(part.name).unlink(missing_ok=True)
        self._whole.unlink(missing_ok=True)


def _text_of(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
