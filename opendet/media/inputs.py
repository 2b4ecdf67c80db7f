"""What `opendet detect` is shown: files, folders, patterns, films and cameras, in a fixed order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from opendet.sources.folder import files_below
from opendet.sources.images import format_of

FILM_ENDINGS = frozenset(
    ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()  # noqa: SIM905
)
_HEAD = 12  # bytes that tell an image


@dataclass(frozen=True, slots=True)
class Film:
    """A video file, as far as its name says."""

    path: Path


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera of this machine, counted from 0."""

    index: int


Shown = Path | Film | Camera
"""A path is an image file's, or is taken for one."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is to be looked at."""

    shown: tuple[Shown, ...]
    skipped: int
    """Files of folders and patterns that are neither an image nor a film."""


def expand(given: Sequence[str], *, without: Path | None = None) -> Inputs:
    """What words of a command line name, each in its place.

    A folder stands for what is below it, sorted, hidden files and the folder `without` (of drawings
    made before) left out; a pattern such as `shots/**/*.jpg` for what matches; a number, where no
    file is called so, for a camera. Raises ValueError, in one line, where nothing is to be seen.
    """
    shown: list[Shown] = []
    skipped = 0
    own = without.resolve() if without else None
    for word in given:
        path = Path(word)
        if path.exists() and not path.is_dir():
            shown.append(_named(path))
        elif not path.exists() and word.isdecimal():
            shown.append(Camera(int(word)))
        elif found := [one for one in _found(word) if not _lies_in(one, own)]:
            kinds = [_kind(one) for one in found]
            shown += [one for one in kinds if one is not None]
            skipped += kinds.count(None)
        elif not path.is_dir():
            shown.append(path)  # a mistyped name is that file's mistake, and the rest is looked at
    if not shown:
        others = f" among {skipped} files" if skipped else ""
        raise ValueError(f"{' '.join(given)}: no image and no film there{others}: name some")
    return Inputs(tuple(shown), skipped)


def _found(word: str) -> Iterator[Path]:
    """The files of a folder or of a pattern, sorted; nothing for any other word."""
    if Path(word).is_dir():
        yield from (Path(word) / name for name in sorted(files_below(Path(word))))
    elif has_magic(word):
        for match in sorted(glob(word, recursive=True)):  # noqa: PTH207  of any folder, `/` too
            if not Path(match).is_dir():  # `**/*` also gives the folders that it goes through
                yield Path(match)


def _lies_in(path: Path, folder: Path | None) -> bool:
    return folder is not None and path.resolve().is_relative_to(folder)


def _named(path: Path) -> Shown:
    """Of a file that somebody named: what is no film is taken for an image, and judged as one."""
    return Film(path) if path.suffix.lower() in FILM_ENDINGS else path


def _kind(path: Path) -> Shown | None:
    """Of a file that nobody named by itself: None where it is neither image nor film."""
    if path.suffix.lower() in FILM_ENDINGS:
        return Film(path)
    try:
        with path.open("rb") as file:
            return path if format_of(file.read(_HEAD)) else None
    except OSError:
        return path  # one that cannot be read is told as that, not passed over
