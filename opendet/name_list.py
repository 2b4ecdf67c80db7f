"""A list of names as a user gives it: in words, or in a text file."""

import os
from pathlib import Path

from opendet.annotators.queries import LONGEST_NAME
from opendet.sources.text_lines import read_lines

_COMMENT = "#"


def read_names(given: str) -> tuple[str, ...]:
    """`cat, dog` or a file with a name a line, # for none: each name once, in their order.

    What has the form of a path must be a file. Raises ValueError, in one line, where it is none, is
    no UTF-8 text, names nothing, or holds what is too long for a name.
    """
    path = Path(given)
    # Path.is_file raises where the words are too many for a file's name.
    there = os.path.isfile(given)  # noqa: PTH113
    in_file = there or "/" in given or path.suffix == ".txt"
    if in_file and not there:
        raise ValueError(f"there is no file {given}: name one with a name a line, or write cat,dog")
    parts = read_lines(path) if in_file else given.split(",")
    tidy = (" ".join(part.split()) for part in parts if not part.lstrip().startswith(_COMMENT))
    names = tuple(dict.fromkeys(name for name in tidy if name))
    if not names:
        raise ValueError(f"{given!r} names nothing: write names with commas, or a file, one a line")
    if long := next((name for name in names if len(name) > LONGEST_NAME), ""):
        raise ValueError(
            f"{given!r} is no list of names: {long[:40]!r}... has {len(long)} characters"
        )
    return names
