"""The lines of a small text file of annotations: a list of images, or of class names."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from opendet.sources.listing import MEND

_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Of images, as lists write them: what else follows a dot is part of a name."""


def read_lines(path: Path) -> list[str]:
    """Each without the spaces around it; empty ones at the end go. A byte order mark is none of it.

    Raises ValueError, in one line, for a file that is missing, a folder, or not UTF-8.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: {MEND}") from error
    except IsADirectoryError as error:
        raise ValueError(f"{path} is a folder: name a text file in it") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 at byte {error.start}") from error
    return [line.strip() for line in text.rstrip().splitlines()]


def listed_files(found: Iterable[str], names: Iterable[str]) -> list[str]:
    """The files that a list names, with their suffix or without; in the list's order.

    A name without a file stays in, as a JPEG where it has no suffix, and is missed later.
    """
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for file in found:
        by_name[file].append(file)
        by_name[str(PurePosixPath(file).with_suffix(""))].append(file)
    files: list[str] = []
    for name in names:
        bare = without_suffix(name)
        missing = name if bare != name else f"{name}.jpg"
        files += by_name.get(name) or by_name.get(bare) or [missing]
    return files


def without_suffix(name: str) -> str:
    """`0001.jpg` -> `0001`; a name such as `2012.0001` has none."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in _SUFFIXES else name
