"""Where the prototype head's teachers lie: a build's pool, and CLIP's vectors of its regions."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opendet.files import sha256_of

if TYPE_CHECKING:
    from opendet.train.region_vectors import RegionVectors

HEART = 0.25
"""Of the way from the others' cosine to 1, what prototypes must have gone to the regions at their
hearts: half of it and more in one CLIP's space, be they of noise alone, and none between two."""


@dataclass(frozen=True, slots=True)
class SemanticSources:
    """Folders of two stages of the build, which all ranks see."""

    pool: Path
    """Of the stage `prototypes`."""
    vectors: Path
    """Of the stage `embed`."""

    def digest(self) -> str:
        """Of both. Raises ValueError, in one line, where one was not built."""
        files = (self.pool / "pool.safetensors", self.vectors / "manifest.json")
        for path, stage in zip(files, ("prototypes", "embed"), strict=True):
            if not path.is_file():
                raise ValueError(f"{path} is missing: build the stage {stage} first")
        return hashlib.sha256("\n".join(map(sha256_of, files)).encode()).hexdigest()


def require_one_clip(pool: Path, crops: "RegionVectors") -> None:
    """Raises ValueError, in one line, where a pool and the regions' vectors are of two CLIPs of one
    width: no prototype then lies where the region at its heart does. Too few of those say nothing.
    """
    import numpy as np

    from opendet.curate.pool import read_pool
    from opendet.curate.pool_space import TRUSTED, nearness
    from opendet.data.batch import RegionRef

    read = read_pool(pool)
    hearts = [RegionRef(one.medoid.key, one.medoid.region) for one in read.prototypes]
    vectors, there = (one.numpy() for one in crops.of(hearts))
    if there.sum() < TRUSTED:
        return
    near = nearness(np.concatenate((read.coarse, read.fine))[there], vectors[there])
    if not near.agrees(HEART):
        raise ValueError(
            f"{pool}: prototypes lie at a cosine of {near.own:.2f} from the regions at their "
            f"hearts and of {near.others:.2f} from each other's: the pool and the stage embed are "
            "of two CLIP models: build prototypes again"
        )
