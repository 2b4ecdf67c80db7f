"""A pickle of plain data: lists, dicts, tuples, sets, texts, numbers, bytes, and nothing else.

A pickle is a program that may call whatever it names. This reader lets it name sets and the one
function by which old pickles spell bytes, so that it can build data and do nothing.

It is Python's own unpickler written in Python: the one in C keeps what was seen in an array as long
as the highest number that the pickle gives it, and eight bytes of file can make that 16 GB.
"""

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from opendet.sources.listing import clean_text

_LONGEST_NAME = 100
"""Characters of what a broken pickle calls a name."""


class _NotPlainError(pickle.UnpicklingError):
    pass


def _latin_bytes(text: str, encoding: str) -> bytes:
    """What stands in for `_codecs.encode`, which could load any codec."""
    if encoding not in ("latin1", "latin-1"):
        raise _NotPlainError(f"bytes in {encoding!r}")
    return text.encode("latin-1")


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _latin_bytes,
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")  # Python 3's name and Python 2's
        for kind in (set, frozenset)
    },
}


def _refuse_bytearray(_: Any) -> None:
    """It would be made as long as the pickle says before any of it is read."""
    raise _NotPlainError("it holds a bytearray")


class _PlainUnpickler(pickle._Unpickler):
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        pickle.BYTEARRAY8[0]: _refuse_bytearray,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise _NotPlainError(f"it names {clean_text(f'{module}.{name}')[:_LONGEST_NAME]}")
        return _ALLOWED[module, name]


def read_plain_pickle(path: Path, *, mend: str = "") -> Any:
    """What the file holds; texts of Python 2 are taken for UTF-8.

    Raises ValueError, in one line, for a file that is missing, that is no pickle, or that names
    anything but plain data. Nothing it names is ever imported.
    """
    try:
        # of bytes in memory no more are read than there are, whatever length the pickle gives
        content = io.BytesIO(path.read_bytes())
        return _PlainUnpickler(content, encoding="utf-8", errors="replace").load()
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing" + (f": {mend}" if mend else "")) from error
    except IsADirectoryError as error:
        raise ValueError(f"{path} is a folder: name a pickle in it") from error
    except _NotPlainError as error:
        raise ValueError(
            f"{path} is no pickle of plain data: {error}: fetch it from its authors again"
        ) from error
    except Exception as error:  # broken bytes make the unpickler raise nearly anything
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{path} is no whole pickle: {said}: fetch it again") from error
