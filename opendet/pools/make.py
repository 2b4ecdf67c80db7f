"""A pool straight from vectors in files, such as published text vectors of a vocabulary's names."""

# N vectors of all files, D width

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from opendet.curate.pool import Member, Pool, write_pool
from opendet.curate.pool_vectors import gather
from opendet.curate.prototypes import PrototypesConfig, pool_of
from opendet.curate.vector_file import usable
from opendet.exports.whole_folder import require_unused, whole_folder
from opendet.ordered_map import map_on_threads
from opendet.pools.health import measure_health, write_measures
from opendet.pools.origin import Origin, OriginFile, origin_file, write_origin
from opendet.pools.reclustering import coarse_clusters
from opendet.pools.vectors import FileVectors, Floats, read_vector_file, scaled_rows
from opendet.pools.vocabulary import read_vocabulary

_ELSEWHERE = ("splits", "device", "threads")
"""Settings that files of vectors have no use for, or that change no byte."""


@dataclass(frozen=True, slots=True)
class NamedVectors:
    """The rows of several files, one after the other."""

    rows: Floats
    """(N, D), scaled to what float16 holds."""
    members: tuple[Member, ...]
    """N of them: the file's name as key, the row in it as region."""
    files: tuple[OriginFile, ...]


def make_pool(
    vectors: Sequence[Path], names: Sequence[Path], out: Path, config: PrototypesConfig
) -> Pool:
    """Read, cluster, measure and write into the folder `out`, which is whole or not there.

    Raises ValueError, in one line, for files that do not go together and for a folder in use.
    """
    require_unused(out)
    found = read_named(vectors, names)
    with whole_folder(out) as folder, TemporaryDirectory() as work:
        gathered = gather([(found.rows, found.members)], Path(work))
        pool = pool_of(gathered, config, partial(map_on_threads, threads=config.threads))
        write_pool(folder, pool)
        measures = measure_health(
            pool,
            vectors=gathered.vectors,
            cluster=coarse_clusters(config.coarse, threads=config.threads),
        )
        write_measures(folder, measures)
        settings = config.model_dump(mode="json", exclude=set(_ELSEWHERE))
        write_origin(folder, Origin(found.files, settings))
    return pool


def read_named(vectors: Sequence[Path], names: Sequence[Path]) -> NamedVectors:
    """Vectors and their names, file by file; without `names` every file must bring its own.

    Raises ValueError, in one line, for files of other kinds, lengths or widths.
    """
    if names and len(names) != len(vectors):
        raise ValueError(
            f"{len(vectors)} files of vectors need as many of names, not {len(names)}: name one "
            "for each, in their order"
        )
    read = [read_vector_file(path) for path in vectors]
    if len(widths := sorted({one.rows.shape[1] for one in read})) > 1:
        raise ValueError(f"the files have vectors of the widths {widths}: take those of one CLIP")
    named: Sequence[Path | None] = names or [None] * len(vectors)
    pairs = list(zip(vectors, named, read, strict=True))
    rows = np.concatenate([scaled_rows(one.rows) for one in read])
    if not len(usable(rows).rows):
        raise ValueError(f"none of {len(rows)} vectors has a direction: all are zero or not finite")
    return NamedVectors(
        rows=rows,
        members=tuple(member for pair in pairs for member in _members(*pair)),
        files=tuple(origin_file(path, own, len(one.rows)) for path, own, one in pairs),
    )


def _members(path: Path, names: Path | None, found: FileVectors) -> list[Member]:
    own = tuple(one.name for one in read_vocabulary(names)) if names else found.names
    if own is None:
        raise ValueError(f"{path} brings no names of its vectors: name a file of them (--names)")
    if len(own) != len(found.rows):
        raise ValueError(f"{names} has {len(own)} names for {len(found.rows)} rows of {path}")
    if empty := [row for row, name in enumerate(own) if not name.strip()]:
        raise ValueError(
            f"{names or path} has {len(empty)} empty names, the first for row {empty[0]}: a "
            "prototype is called by its name, so name them, or leave their rows out"
        )
    return [Member(path.name, row, name) for row, name in enumerate(own)]
