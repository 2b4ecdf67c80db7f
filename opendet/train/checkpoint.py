"""Checkpoints on disk: `step-<n>.safetensors` with the tensors, then `step-<n>.json`.

The JSON is the commit record. It is written last and holds the SHA-256 of the tensors, so a step
that has one is whole, and a kill at any moment leaves the checkpoint before it loadable.
"""

import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from opendet.files import errors_name, fsync_path, write_json_durably
from opendet.manifest import FileStamp

log = logging.getLogger(__name__)

CHECKPOINT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that a training run is made of after `step` steps."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    """JSON."""


@dataclass(frozen=True, slots=True)
class _Commit:
    step: int
    stamp: FileStamp
    state: dict[str, Any]
    version: int = CHECKPOINT_VERSION


_COMMIT = TypeAdapter(_Commit)


def save(folder: Path, checkpoint: Checkpoint, *, keep: int) -> None:
    """Write a checkpoint, then remove all but the last `keep`. One process at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".step-*"):
        leftover.unlink()
    tensors = folder / f"step-{checkpoint.step:08d}.safetensors"
    write_tensors_durably(tensors, checkpoint.tensors)
    commit = _Commit(checkpoint.step, FileStamp.of(tensors), checkpoint.state)
    write_json_durably(tensors.with_suffix(".json"), asdict(commit))
    for record in _newest_first(folder)[keep:]:
        record.unlink()  # first: a step without its commit record is no checkpoint
    _sweep(folder)


def load_latest(folder: Path) -> Checkpoint | None:
    """The last whole checkpoint, None where there is none at all.

    A damaged one is named in the log and the one before it is taken. Raises ValueError if all are.
    """
    records = _newest_first(folder)
    for record in records:
        try:
            return _load(record)
        except ValueError as error:
            log.warning("%s; trying the checkpoint before it", error)
    if records:
        raise ValueError(f"every checkpoint in {folder} is damaged: remove the folder, train anew")
    return None


def write_tensors_durably(
    path: Path, tensors: Mapping[str, Tensor], notes: dict[str, str] | None = None
) -> None:
    """Replace `path` in one step by a safetensors file of `tensors`, with `notes` in its header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with errors_name(path):
            save_file(own, temporary, notes)
        temporary.chmod(0o644)
        fsync_path(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_path(path.parent)


def _load(record: Path) -> Checkpoint:
    try:
        commit = _COMMIT.validate_json(record.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{record} is damaged: {error.errors()[0]['msg']}") from error
    if commit.version != CHECKPOINT_VERSION:
        raise ValueError(f"{record} has version {commit.version}, not {CHECKPOINT_VERSION}")
    tensors = record.with_suffix(".safetensors")
    if not tensors.is_file() or FileStamp.of(tensors) != commit.stamp:
        raise ValueError(f"{tensors} is missing or not what {record.name} says")
    try:
        return Checkpoint(commit.step, load_file(tensors), commit.state)
    except SafetensorError as error:  # its record vouches for what never was one
        raise ValueError(f"{tensors} holds no tensors: {error}") from error


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.json"), reverse=True)


def _sweep(folder: Path) -> None:
    for tensors in folder.glob("step-*.safetensors"):
        if not tensors.with_suffix(".json").exists():
            tensors.unlink()
