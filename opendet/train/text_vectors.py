"""The names that a build teaches, and the teacher's vector of each."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from torch import Tensor

from opendet.curate.clip import text_of
from opendet.files import write_json_durably
from opendet.shard_set import ShardSet
from opendet.train.checkpoint import write_tensors_durably

# N names, D_t width of a text vector


class TextTower(Protocol):
    """What the trainer asks of a CLIP (`opendet.annotators.clip.Clip`)."""

    revision: str

    def encode_texts(self, texts: Sequence[str]) -> Any:
        """(N, D_t) unit rows."""
        ...


@dataclass(frozen=True)
class TextVectors:
    """The teacher's vector of every name of a build."""

    names: tuple[str, ...]
    matrix: Tensor
    """(V, D_t) unit rows, fp32."""

    def of(self, names: Sequence[str]) -> Tensor:
        """(N, D_t). Raises KeyError for a name that the build does not teach."""
        return self.matrix[self.rows(names).to(self.matrix.device)]

    def rows(self, names: Sequence[str]) -> Tensor:
        """(N,) int64. Raises KeyError for a name that the build does not teach."""
        return torch.tensor([self._rows[name] for name in names], dtype=torch.int64)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device) -> "TextVectors":
        return TextVectors(self.names, self.matrix.to(device))

    @cached_property
    def deviation(self) -> float:
        """The standard deviation of all entries: the sigma of text denoising's noise."""
        return float(self.matrix.std())

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.names)}


def names_of(shards: ShardSet, *, absent: bool = False) -> list[str]:
    """Every name of a kept region, once, in alphabetical order; with `absent` those too that a
    record says are not there."""
    names: set[str] = set()
    for index in range(len(shards)):
        record = shards.record(index)
        names.update(name for region in record.regions if region.kept for name in region.names)
        if absent:
            names.update(judged.name for judged in record.absent)
    return sorted(names)


def names_once(shards: ShardSet, kept_in: Path, *, absent: bool, version: str) -> list[str]:
    """`names_of`, for which all records are read, once in a run's life; `version` says of what."""
    asked = {"shards": version, "absent": absent}
    with suppress(FileNotFoundError, ValueError):  # none yet, or damaged: they are read once more
        kept = json.loads(kept_in.read_text("utf-8"))
        if kept["asked"] == asked:
            names: list[str] = kept["names"]
            return names
    names = names_of(shards, absent=absent)
    write_json_durably(kept_in, {"asked": asked, "names": names})
    return names


def vectors_of(
    names: Sequence[str], clip: TextTower | None, *, template: str, kept_in: Path
) -> TextVectors | None:
    """The names' vectors; None without a CLIP or a name.

    They are asked for once and kept in a file: another machine's CLIP may round differently, and
    a resumed run must see the same ones.
    """
    if clip is None or not names:
        return None
    asked = json.dumps({"clip": clip.revision, "template": template, "names": list(names)})
    if not kept_in.is_file() or _asked(kept_in) != asked:
        texts = [text_of(name, template) for name in names]
        rows = torch.as_tensor(clip.encode_texts(texts), dtype=torch.float32)
        write_tensors_durably(kept_in, {"vectors": rows}, {"asked": asked})
    with safe_open(kept_in, framework="pt") as file:
        return TextVectors(tuple(names), file.get_tensor("vectors"))


def _asked(path: Path) -> str:
    with safe_open(path, framework="pt") as file:
        return str((file.metadata() or {}).get("asked"))
