"""`python -m opendet.reference [--check]`: write docs/reference/ from the code it describes.

With --check nothing is written, and pages that are not as the code would have them end it with 1.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from opendet.console import exit_code_of
from opendet.files import write_durably

FOLDER = Path("docs") / "reference"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m opendet.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, say what is stale")
    check = parser.parse_args(arguments).check
    return exit_code_of(lambda: _check(Path.cwd()) if check else _write(Path.cwd()))


def pages() -> Mapping[str, str]:
    """File's name -> its text."""
    from opendet.reference.command_pages import commands_page
    from opendet.reference.record_pages import record_page
    from opendet.reference.section_pages import config_page, source_page

    return {
        "commands.md": commands_page(),
        "config.md": config_page(),
        "record.md": record_page(),
        "source.md": source_page(),
    }


def stale_pages(root: Path) -> list[str]:
    """Names of the pages below `root` that are not what the code says."""
    folder = root / FOLDER
    return [
        name
        for name, text in pages().items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
    ]


def _write(root: Path) -> int:
    if not (root / FOLDER.parent).is_dir():
        raise ValueError(f"no project here: {root} has no docs/; run this in a checkout")
    for name, text in pages().items():
        write_durably(root / FOLDER / name, text.encode())
    return 0


def _check(root: Path) -> int:
    if stale := stale_pages(root):
        told = ", ".join(str(FOLDER / name) for name in stale)
        raise ValueError(f"{told} is not what the code says: run `python -m opendet.reference`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
