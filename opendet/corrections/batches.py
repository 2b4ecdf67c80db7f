"""Batches of corrections on disk: what people said of a build's boxes, in the order they said it.

datasets/corrections/<build>/batch-<n>.jsonl  a line for each corrected image, sorted by key
datasets/corrections/<build>/batch-<n>.json   its commit record, written last: who, when, from
                                              which file, and the sha256 of the lines

A batch never changes once it is given. They lie apart from what DVC makes of them, for they are
made from it, as `opendet.curate.label_rounds` explains.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from opendet.corrections.edits import Edit
from opendet.files import sha256_of, write_durably, write_json_durably

FOLDER = "datasets/corrections"
"""Below the project; a build's batches lie in a folder of its name there."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What was changed in one image."""

    key: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """One that is whole."""

    number: int
    path: Path
    """Of its lines."""
    sha256: str
    """Of its lines."""
    given: Mapping[str, Any]
    """Where it came from: `by` whom, `at` what time (UTC), the `file` and its `file_sha256`."""

    @property
    def name(self) -> str:
        """The revision of the beliefs that come from it."""
        return f"batch-{self.number}"


Given = Sequence[tuple[str, tuple[Edit, ...]]]
"""What was said of one image: names of batches and their edits, the last word last."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """The batches of a folder as they were when it was looked at: what a filter's tasks know,
    whatever is given meanwhile."""

    folder: Path
    sha256s: tuple[str, ...] = ()
    """Of the lines of the first batches, in their order."""

    def of(self, key: str) -> Given:
        """What they say of an image. Read once in a process."""
        return _by_key(self).get(key, ()) if self.sha256s else ()

    def digest(self, keys: Iterable[str]) -> str:
        """One number for all that they say of these images; empty where they say nothing."""
        said = [(key, self.of(key)) for key in sorted(keys) if self.of(key)]
        if not said:
            return ""
        told = [
            [key, [[name, [asdict(one) for one in edits]] for name, edits in given]]
            for key, given in said
        ]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


_CORRECTION: TypeAdapter[Correction] = TypeAdapter(Correction)


def batches_in(folder: Path) -> list[Batch]:
    """All that were given, in their order. Raises ValueError, in one line, for a gap or damage."""
    batches = sorted((_read(path) for path in folder.glob("batch-*.json")), key=lambda b: b.number)
    for expected, one in enumerate(batches, 1):
        if one.number != expected:
            raise ValueError(
                f"{folder} has no batch {expected}, yet one after it: bring it back, or remove the "
                "later ones"
            )
    return batches


def corrections_in(folder: Path) -> Corrections:
    """All that were given by now. Raises ValueError like `batches_in`."""
    return Corrections(folder, tuple(batch.sha256 for batch in batches_in(folder)))


def add_batch(folder: Path, corrections: Iterable[Correction], given: Mapping[str, Any]) -> Batch:
    """Write the next batch; it counts when its commit record is there."""
    number = len(batches_in(folder)) + 1
    path = folder / f"batch-{number}.jsonl"
    ordered = sorted(corrections, key=lambda one: one.key)
    write_durably(path, "".join(map(_line_of, ordered)).encode())
    sha256 = sha256_of(path)
    write_json_durably(path.with_suffix(".json"), {"sha256": sha256, "given": dict(given)})
    return Batch(number, path, sha256, dict(given))


def _line_of(correction: Correction) -> str:
    return (
        json.dumps(asdict(correction), sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    )


@lru_cache(maxsize=1)
def _by_key(corrections: Corrections) -> Mapping[str, Given]:
    batches = batches_in(corrections.folder)[: len(corrections.sha256s)]
    if tuple(batch.sha256 for batch in batches) != corrections.sha256s:
        raise ValueError(f"{corrections.folder} was changed while it was in use: start again")
    found: dict[str, list[tuple[str, tuple[Edit, ...]]]] = {}
    for batch in batches:
        for one in _lines_of(batch):
            found.setdefault(one.key, []).append((batch.name, one.edits))
    return found


def _lines_of(batch: Batch) -> list[Correction]:
    try:
        with batch.path.open("rb") as file:
            return [_CORRECTION.validate_json(line) for line in file]
    except ValidationError as error:
        raise ValueError(
            f"{batch.path} was not written by this Open-Det: remove the batch, and give its file "
            "again"
        ) from error


def _read(record: Path) -> Batch:
    lines = record.with_suffix(".jsonl")
    number = record.stem.removeprefix("batch-")
    if not number.isdecimal():
        raise ValueError(f"{record} is no batch: they are called batch-1, batch-2, ...")
    try:
        told = json.loads(record.read_text("utf-8"))
        sha256, given = told["sha256"], dict(told["given"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{record} is damaged: bring it back, or remove its batch") from error
    if not lines.is_file() or sha256_of(lines) != sha256:
        raise ValueError(
            f"{lines} is missing or not what {record.name} says: bring it back (`dvc pull`, git), "
            "or remove the batch"
        )
    return Batch(int(number), lines, sha256, given)
