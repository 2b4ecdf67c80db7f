"""The files of a data set: those of an export's folder, or the shards of a build."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from opendet.build import Build
from opendet.cards.about import DataFile
from opendet.files import sha256_of

README = "README.md"
CROISSANT = "croissant.json"
SHARDS = "shards"
_NUMBERS = re.compile(r"\d{5,}")
"""What numbers the files of one split: `train-000003.tar`, `train-00000-of-00002.parquet`."""


def files_in(folder: Path, splits: Sequence[str]) -> tuple[DataFile, ...]:
    """Every file of an export's folder but its cards, hashed, in the order of their paths."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    found = {path.relative_to(folder).as_posix(): path for path in paths}
    return tuple(
        DataFile(name, path.stat().st_size, sha256_of(path), _split_of(name, splits))
        for name, path in sorted(found.items())
        if name not in (README, CROISSANT)
    )


def shard_files(build: Build, splits: Sequence[str] = ()) -> tuple[DataFile, ...]:
    """The tar files of a build, as its manifest knows them, below `shards/`; none before they are
    built."""
    if not (build.stage_folder(SHARDS) / "manifest.json").is_file():
        return ()
    return tuple(
        DataFile(f"{SHARDS}/{name}", stamp.bytes, stamp.sha256, part.shard.split)
        for part in build.manifest(SHARDS).parts
        for name, stamp in sorted(part.files.items())
        if name.endswith(".tar") and (not splits or part.shard.split in splits)
    )


def patterns(files: Iterable[DataFile]) -> list[str]:
    """The files by few patterns: numbers of five digits and more become a star."""
    return sorted({_NUMBERS.sub("*", one.path) for one in files})


def _split_of(name: str, splits: Sequence[str]) -> str:
    """The split that a folder or the beginning of the file's own name tells of."""
    *folders, own = name.split("/")
    named = {*folders, re.split(r"[-.]", own)[0]}
    return next((split for split in splits if split in named), "")
