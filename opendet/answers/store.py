"""The answer store: a folder of kinds, each with all answers of one model asked in one way.

What an answer hangs on beside the image and the question is its kind: the model, its revision, how
it was asked to decode. Other builds, other days and other machines find the answers again.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opendet.answers.packing import pack_numbers, remove_packs, sweep, write_pack
from opendet.answers.segments import Segments
from opendet.files import BusyError, canonical_json, exclusive_lock, write_json_durably

KIND_FILE = "kind.json"


@dataclass(frozen=True, slots=True)
class KindStats:
    """One kind's place in the store."""

    name: str
    """Its folder."""
    kind: dict[str, Any]
    """What its answers have in common."""
    answers: int
    bytes: int
    idle_days: float
    """Since an answer was last looked for or added."""


def open_kind(store: Path, kind: Mapping[str, Any]) -> Segments:
    """The answers of a kind, JSON values each; its folder is made where there is none.

    Raises ValueError, in one line, where the store cannot be read and written.
    """
    folder = store / kind_name(kind)
    about = folder / KIND_FILE
    try:
        if not about.is_file():
            write_json_durably(about, dict(kind))
        with suppress(PermissionError):  # another user's: its segments tell when it was used, too
            os.utime(about)
        segments = Segments(folder)
        len(segments)
    except OSError as error:
        raise ValueError(
            f"run.answers: {folder} cannot be used ({error.strerror}): name a folder that all "
            "workers may read and write, or none"
        ) from error
    return segments


def kind_name(kind: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits."""
    return hashlib.sha256(canonical_json(dict(kind)).encode()).hexdigest()[:16]


def question_key(**parts: Any) -> str:
    """The key of a question from its parts, JSON values each, whatever their order."""
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def kinds_of(store: Path) -> Iterator[KindStats]:
    """What the store holds, the largest kind first. Raises ValueError where it is none."""
    if not store.is_dir():
        raise ValueError(f"there is no answer store at {store}: builds that ask models make one")
    stats = [_stats_of(about) for about in sorted(store.glob(f"*/{KIND_FILE}"))]
    yield from sorted(stats, key=lambda one: (-one.bytes, one.name))


def remove_kind(store: Path, name: str) -> None:
    """Remove all answers of a kind. The file that makes it one goes first, so that a kill leaves
    no kind with half of its answers."""
    (store / name / KIND_FILE).unlink()
    shutil.rmtree(store / name)


def pack_kind(store: Path, name: str) -> int:
    """Make one pack of a kind's answers and remove what it was made of; returns how many there are.

    A build may read and add meanwhile: it goes on with the pack, and with a segment of its own.
    Raises BusyError where somebody else packs the kind, or adds to it just now.
    """
    folder = store / name
    with exclusive_lock(folder / "packing.lock", what=f"the pack of {folder}"):
        sweep(folder)
        old, segments = pack_numbers(folder), sorted(folder.glob("*.jsonl"))
        sizes = [path.stat().st_size for path in segments]
        number = write_pack(folder, Segments(folder).texts())
        # Out of their writers' sight first: what was added up to here shows in their sizes.
        taken = [path.rename(path.with_suffix(".packed")) for path in segments]
        if [path.stat().st_size for path in taken] != sizes:
            for path in taken:
                path.rename(path.with_suffix(".jsonl"))
            remove_packs(folder, set(pack_numbers(folder)) - set(old))
            raise BusyError(f"{folder} grows while it is packed: wait for the build that writes it")
        for path in taken:
            path.unlink()
        remove_packs(folder, old)
    return number


def _stats_of(about: Path) -> KindStats:
    folder = about.parent
    try:
        kind = json.loads(about.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{about} is damaged: remove {folder}, whose answers it tells of"
        ) from error
    files = [path for path in folder.iterdir() if path.is_file()]
    return KindStats(
        name=folder.name,
        kind=kind,
        answers=len(Segments(folder)),
        bytes=sum(path.stat().st_size for path in files),
        idle_days=(time.time() - max(path.stat().st_mtime for path in files)) / 86_400,
    )
