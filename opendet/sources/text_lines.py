"""The lines of a small text file of annotations: a list of images, or of class names."""

from pathlib import Path

from opendet.sources.listing import MEND


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
