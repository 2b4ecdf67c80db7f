"""The files behind `region_vectors`: the vectors of the stage `embed` in one, made once, whole or
absent.

N usable regions, R all, D_c the width of the CLIP.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from opendet.curate.vectors import Vectors, read_vectors
from opendet.data.batch import RegionRef
from opendet.files import canonical_json, fsync_path, write_json_durably
from opendet.manifest import Manifest, read_manifest

log = logging.getLogger(__name__)

ROWS, MARKS, PLACES = "rows.npy", "marks.npy", "places.npy"
"""(R, D_c) float16 vectors as they came; (N,) uint64 marks of the regions, ascending; (N,) int64
the row of each."""
COMMIT = "vectors.json"
"""Written last: what it speaks of is whole."""
SUFFIX = ".vectors.parquet"
"""Of a shard's vectors in the folder of the stage `embed`."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What lies in the folder."""

    source: str
    """Hash of the parts that it was made of."""
    width: int
    bytes: Mapping[str, int] = field(default_factory=dict)
    """File name -> its size."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Reason -> how many vectors are of no use, and unknown."""


_KEPT: TypeAdapter[Kept] = TypeAdapter(Kept)


def kept_vectors(embed_folder: Path, kept_in: Path) -> Kept:
    """What lies in `kept_in`, made now where it is not whole, or of other parts.

    Raises ValueError, in one line, where the stage has no vectors, or of two widths.
    """
    manifest = read_manifest(embed_folder)
    kept, source = _read_kept(kept_in), _source_of(manifest)
    if kept is None or kept.source != source:
        return _gather(embed_folder, manifest, kept_in, source)
    return kept


def marks_of(refs: Sequence[RegionRef]) -> NDArray[np.uint64]:
    """(N,) 64 bits of each: that two of ten million regions share them is a chance of 3e-6, and it
    is noticed."""
    digests = b"".join(
        hashlib.blake2b(f"{ref.region} {ref.key}".encode(), digest_size=8).digest() for ref in refs
    )
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def _gather(embed_folder: Path, manifest: Manifest, kept_in: Path, source: str) -> Kept:
    """One part in memory at a time; of each region 16 bytes beside it."""
    (kept_in / COMMIT).unlink(missing_ok=True)  # first: nothing that follows is whole yet
    kept_in.mkdir(parents=True, exist_ok=True)
    paths = [embed_folder / f"{part.shard.name}{SUFFIX}" for part in manifest.parts]
    count, width = _shape(paths, where=embed_folder)
    rows = np.lib.format.open_memmap(
        kept_in / ROWS, mode="w+", dtype=np.float16, shape=(count, width)
    )
    marks = np.empty(count, np.uint64)
    usable = np.empty(count, np.bool_)
    left_out: Counter[str] = Counter()
    for start, vectors in _parts(paths):
        span = slice(start, start + len(vectors.keys))
        rows[span] = vectors.crops.astype(np.float16)
        pairs = zip(vectors.keys, vectors.regions.tolist(), strict=True)
        marks[span] = marks_of([RegionRef(key, region) for key, region in pairs])
        usable[span] = _usable(vectors, left_out)
    rows.flush()
    places = np.flatnonzero(usable)[np.argsort(marks[usable], kind="stable")]
    _require_one_each(marks[places], where=embed_folder)
    np.save(kept_in / MARKS, marks[places])
    np.save(kept_in / PLACES, places.astype(np.int64))
    return _commit(kept_in, source, width, left_out)


def _commit(kept_in: Path, source: str, width: int, left_out: Mapping[str, int]) -> Kept:
    for name in (ROWS, MARKS, PLACES):
        fsync_path(kept_in / name)
    kept = Kept(source, width, _sizes(kept_in), dict(sorted(left_out.items())))
    write_json_durably(kept_in / COMMIT, asdict(kept))
    if left_out:
        told = ", ".join(f"{count} {reason}" for reason, count in kept.left_out.items())
        log.warning("vectors of crops that nothing is learned from: %s", told)
    return kept


def _shape(paths: Sequence[Path], *, where: Path) -> tuple[int, int]:
    """How many vectors there are, and how wide they are; of files' footers alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    counts: Counter[int] = Counter()
    for path in paths:
        try:
            footer = pq.ParquetFile(path)
            # a part without a region knows no width
            if footer.metadata.num_rows:
                width = footer.schema_arrow.field("crop").type.list_size
                counts[width] += footer.metadata.num_rows
        except (pa.ArrowException, KeyError, AttributeError, OSError) as error:
            said = " ".join(str(error).split())
            raise ValueError(f"{path} holds no vectors ({said}): build the stage embed") from error
    if not counts:
        raise ValueError(
            f"{where} has no vector of any region: detector.semantics: prototypes learns from "
            "regions with names"
        )
    if len(counts) > 1:
        widths = " and ".join(map(str, sorted(counts)))
        raise ValueError(f"{where} has vectors of widths {widths}: build the stage embed anew")
    [(width, count)] = counts.items()
    return count, width


def _parts(paths: Sequence[Path]) -> Iterator[tuple[int, Vectors]]:
    """Each part that has vectors, with the number of those before it."""
    start = 0
    for path in paths:
        vectors = read_vectors(path)
        if vectors.keys:
            yield start, vectors
        start += len(vectors.keys)


def _usable(vectors: Vectors, left_out: Counter[str]) -> NDArray[np.bool_]:
    """(N,); the others are counted by their reasons."""
    finite = np.isfinite(vectors.crops).all(axis=1)
    zero = (vectors.crops == 0).all(axis=1)
    for reason, rows in (("not finite", ~finite), ("zero", zero)):
        if count := int(rows.sum()):
            left_out[reason] += count
    usable: NDArray[np.bool_] = finite & ~zero
    return usable


def _require_one_each(marks: NDArray[np.uint64], *, where: Path) -> None:
    if twice := int((marks[1:] == marks[:-1]).sum()):
        raise ValueError(f"{where}: {twice} regions have two vectors: build the stage embed anew")


def _source_of(manifest: Manifest) -> str:
    stamps = [
        (name, stamp.sha256)
        for part in manifest.parts
        for name, stamp in sorted(part.files.items())
        if name.endswith(SUFFIX)
    ]
    return hashlib.sha256(canonical_json(stamps).encode()).hexdigest()


def _read_kept(kept_in: Path) -> Kept | None:
    """None where nothing whole is kept."""
    try:
        kept = _KEPT.validate_json((kept_in / COMMIT).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return kept if dict(kept.bytes) == _sizes(kept_in) else None


def _sizes(kept_in: Path) -> dict[str, int]:
    paths = [kept_in / name for name in (ROWS, MARKS, PLACES)]
    return {path.name: path.stat().st_size for path in paths if path.is_file()}
