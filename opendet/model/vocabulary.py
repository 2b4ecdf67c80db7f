"""A list of names with their text vectors: made by a text tower once, read without one.

On disk it is a safetensors file: `vectors` (C, D_t), and in its header, as JSON under `vocabulary`,
the names, the tower's revision and the text that stood for a name. C names, D_t width of the
tower's vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from opendet.files import write_durably
from opendet.section import Section

NOTE = "vocabulary"


class TextTower(Protocol):
    """What a vocabulary is made by, such as a CLIP."""

    revision: str

    def encode_texts(self, texts: Sequence[str]) -> Any:
        """(N, D_t) unit rows."""
        ...


@dataclass(frozen=True)
class Vocabulary:
    """Names that a detector may be given."""

    names: tuple[str, ...]
    """C, each once."""
    vectors: Tensor
    """(C, D_t) fp32 unit rows."""
    tower: str
    """Revision of the text tower."""
    template: str
    """The text that stood for a name, with `{name}` in it."""

    @property
    def width(self) -> int:
        return self.vectors.shape[1]

    def only(self, names: Sequence[str]) -> "Vocabulary":
        """Those that are meant, in their order; all where `names` is empty. Raises ValueError, in
        one line, where one is missing."""
        if not names:
            return self
        rows = {name: row for row, name in enumerate(self.names)}
        if absent := [name for name in names if name not in rows]:
            raise ValueError(
                f"names: the vocabulary lacks {', '.join(map(repr, absent[:3]))} ({len(absent)} of "
                f"{len(names)}): write it anew with `opendet vocabulary`"
            )
        wanted = tuple(dict.fromkeys(names))
        return Vocabulary(
            wanted, self.vectors[[rows[name] for name in wanted]], self.tower, self.template
        )


class _Told(Section):
    names: tuple[str, ...]
    tower: str
    template: str


def encode_vocabulary(names: Sequence[str], tower: TextTower, template: str) -> Vocabulary:
    """Raises ValueError where no name is given."""
    wanted = tuple(dict.fromkeys(names))
    if not wanted:
        raise ValueError("a vocabulary needs at least one name")
    texts = [template.replace("{name}", name) for name in wanted]
    vectors = torch.as_tensor(tower.encode_texts(texts), dtype=torch.float32)
    return Vocabulary(wanted, functional.normalize(vectors, dim=1), tower.revision, template)


def write_vocabulary(path: Path, vocabulary: Vocabulary) -> None:
    """Replace the file in one step; equal vocabularies give equal bytes."""
    told = _Told(
        names=vocabulary.names, tower=vocabulary.tower, template=vocabulary.template
    ).model_dump_json()
    # one note, for the library writes several in any order
    write_durably(path, save({"vectors": vocabulary.vectors.contiguous()}, {NOTE: told}))


def read_vocabulary(path: Path) -> Vocabulary:
    """Raises ValueError, in one line, for a file that is no whole vocabulary."""
    if not path.is_file():
        raise ValueError(f"there is no vocabulary {path}: write it with `opendet vocabulary`")
    try:
        with safe_open(path, framework="pt") as file:
            told = _Told.model_validate_json((file.metadata() or {})[NOTE])
            vectors = file.get_tensor("vectors").float()
        found = Vocabulary(told.names, vectors, told.tower, told.template)
        _require_whole(found)
    except (SafetensorError, OSError, LookupError, ValueError) as error:
        reason = " ".join(str(error).split())[:150]
        raise ValueError(
            f"{path} is no vocabulary ({reason}): write it with `opendet vocabulary`"
        ) from error
    return found


def _require_whole(found: Vocabulary) -> None:
    names, vectors = found.names, found.vectors
    if not names or not all(names):
        raise ValueError("a name is missing")
    if len(set(names)) < len(names):
        raise ValueError("a name is there twice")
    if vectors.shape != (len(names), vectors.shape[-1]):
        raise ValueError(f"{len(names)} names have vectors of shape {tuple(vectors.shape)}")
    lengths = vectors.norm(dim=1)
    if not torch.allclose(lengths, torch.ones_like(lengths), atol=0.01):
        raise ValueError("a row is no unit vector")
