"""Where the prototype head's teachers lie: a build's pool, and CLIP's vectors of its regions."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from opendet.files import sha256_of


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
