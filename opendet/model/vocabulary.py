"""A list of names with their text vectors: made by a text tower once, read without one.

`opendet.model.vocabulary_file` says how it lies on the disk. C names, D_t width of the tower's
vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from opendet.files import write_durably
from opendet.model.vocabulary_file import NOTE, Told, read_vocabulary_file, rows_of


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
        rows = rows_of(names, self.names)
        wanted = tuple(self.names[row] for row in rows)
        return Vocabulary(wanted, self.vectors[rows], self.tower, self.template)


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
    told = Told(
        names=vocabulary.names, tower=vocabulary.tower, template=vocabulary.template
    ).model_dump_json()
    # one note, for the library writes several in any order
    write_durably(path, save({"vectors": vocabulary.vectors.contiguous()}, {NOTE: told}))


def read_vocabulary(path: Path) -> Vocabulary:
    """Raises ValueError, in one line, for a file that is no whole vocabulary."""
    told, vectors = read_vocabulary_file(path)
    return Vocabulary(told.names, torch.from_numpy(vectors), told.tower, told.template)
