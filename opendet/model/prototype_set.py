"""The prototypes that a detector names by: the rows of a pool that its head knows.

Of `prototypes.json` in a model's folder and of a pool (`opendet.curate.pool`) alike. M prototypes,
D_c the pool's width.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import PositiveInt, ValidationError, model_validator
from torch import Tensor

from opendet.files import write_json_durably
from opendet.section import Section

Level = Literal["coarse", "fine"]


class PrototypeNames(Section):
    """What a model's folder says of its prototypes; their vectors are among its weights."""

    width: PositiveInt
    """D_c"""
    names: tuple[str, ...]
    """M, coarse ones first."""
    levels: tuple[Level, ...]
    """M"""

    @model_validator(mode="after")
    def _one_level_each(self) -> Self:
        if not self.names or len(self.names) != len(self.levels):
            raise ValueError(f"{len(self.names)} names and {len(self.levels)} levels of them")
        return self


@dataclass(frozen=True)
class PrototypeSet:
    """Named unit vectors."""

    names: tuple[str, ...]
    """M; several may have one name."""
    levels: tuple[Level, ...]
    """M"""
    vectors: Tensor
    """(M, D_c) fp32 unit rows."""

    @property
    def width(self) -> int:
        return self.vectors.shape[1]

    def of_levels(self, levels: Literal["both", "coarse", "fine"]) -> "PrototypeSet":
        """Raises ValueError where the pool has none of that level."""
        rows = [row for row, own in enumerate(self.levels) if levels in ("both", own)]
        if not rows:
            raise ValueError(
                f"detector.prototypes.levels: the pool has no {levels} prototypes: take both, or "
                "lower prototypes.min_samples"
            )
        return PrototypeSet(
            tuple(self.names[row] for row in rows),
            tuple(self.levels[row] for row in rows),
            self.vectors[rows],
        )

    def write_names(self, path: Path) -> None:
        names = PrototypeNames(width=self.width, names=self.names, levels=self.levels)
        write_json_durably(path, names.model_dump(mode="json"))


def read_prototypes(pool_folder: Path) -> PrototypeSet:
    """All rows of a pool. Raises ValueError, in one line, for a folder that holds none, and for
    vectors without a direction."""
    from opendet.curate.pool import read_pool

    pool = read_pool(pool_folder)
    vectors = torch.cat((torch.from_numpy(pool.coarse), torch.from_numpy(pool.fine)))
    directed = vectors.isfinite().all(1) & (vectors != 0).any(1)
    if not directed.all():
        raise ValueError(
            f"{pool_folder}: {int((~directed).sum())} of {len(vectors)} prototypes are zero or not "
            "finite: build prototypes again"
        )
    return PrototypeSet(
        tuple(prototype.medoid.name for prototype in pool.prototypes),
        tuple(prototype.level for prototype in pool.prototypes),
        vectors.float(),
    )


def empty_prototypes(path: Path) -> PrototypeSet:
    """Those of a model's folder, with vectors of zero for its weights to fill.

    Raises ValueError, in one line, for a damaged file.
    """
    try:
        told = PrototypeNames.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is damaged ({reason}): take the model anew") from error
    return PrototypeSet(told.names, told.levels, torch.zeros(len(told.names), told.width))
