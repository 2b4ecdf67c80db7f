"""What the pool is made of, on disk: the vectors of the regions that passed, and whose they are.

They are streamed part by part, so that millions of them never are Python objects all at once.
"""

# N vectors that a pool can use, n of one part, D width

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from opendet.curate.pool import Member
from opendet.curate.vector_file import VectorFile, usable
from opendet.record import Record

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.floating[Any]]
Part = tuple[Floats, Sequence[Member]]
"""(n, D) vectors and their n members."""


class CropVectors(Protocol):
    """What `opendet.curate.vectors.read_vectors` gives of a shard, as far as the pool needs it."""

    @property
    def keys(self) -> Iterable[str]: ...
    @property
    def regions(self) -> Iterable[int]: ...
    @property
    def crops(self) -> Floats: ...


@dataclass(frozen=True, slots=True)
class Gathered:
    """The vectors of a pool, and in the same order whose they are; both lie in files."""

    vectors: VectorFile
    members: "pa.Table"
    """N rows of key, region, name (dictionary) and text."""
    not_finite: int
    """Vectors that were left out."""
    zero: int

    def member(self, row: int) -> Member:
        """Whose vector it is."""
        one = self.members.slice(row, 1).to_pylist()[0]
        return Member(one["key"], one["region"], one["name"], one["text"])

    def names(self) -> NDArray[np.int32]:
        """(N,) a number for each name."""
        codes: NDArray[np.int32] = self.members["name"].combine_chunks().indices.to_numpy()
        return codes


def passed(
    parts: Iterable[tuple[Sequence[Record], CropVectors]], splits: Sequence[str]
) -> Iterator[Part]:
    """The crop vectors of the regions of these splits that passed the filter and have a name.

    A part is its records after the filter and its vectors, whose order is kept.
    """
    for records, vectors in parts:
        members = {
            (member.key, member.region): member
            for record in records
            if record.split in splits
            for member in _members(record)
        }
        whose = [
            members.get((str(key), int(region)))
            for key, region in zip(vectors.keys, vectors.regions, strict=True)
        ]
        rows = [row for row, member in enumerate(whose) if member]
        yield vectors.crops[rows], [member for member in whose if member]


def gather(parts: Iterable[Part], folder: Path) -> Gathered:
    """Write the parts' vectors below `folder`; those that are zero or not finite are counted.

    Raises ValueError where no vector is left, where the widths differ, and where a part has not one
    vector for each member.
    """
    import pyarrow as pa

    path, members_path = folder / "vectors.f16", folder / "members.arrow"
    count = not_finite = zero = 0
    widths: set[int] = set()
    schema = pa.schema(
        {"key": pa.string(), "region": pa.int32(), "name": pa.string(), "text": pa.string()}
    )
    with path.open("wb") as file, pa.ipc.new_file(members_path, schema) as told:
        for vectors, members in parts:
            widths |= _widths(vectors, members)
            _require_one(widths)
            good = usable(vectors)
            file.write(vectors[good.rows].astype(np.float16).tobytes())
            told.write_table(_table([members[row] for row in good.rows], schema))
            count += len(good.rows)
            not_finite, zero = not_finite + good.not_finite, zero + good.zero
    if not count:
        raise ValueError(_nothing(not_finite + zero))
    table = pa.ipc.open_file(pa.memory_map(str(members_path))).read_all()
    names = table["name"].dictionary_encode().unify_dictionaries()
    table = table.set_column(table.column_names.index("name"), "name", names)
    return Gathered(VectorFile(path, count, widths.pop()), table, not_finite, zero)


def _members(record: Record) -> list[Member]:
    return [
        Member(record.key, index, region.names[0], region.description)
        for index, region in enumerate(record.regions)
        if region.kept and region.names
    ]


def _widths(vectors: Floats, members: Sequence[Member]) -> set[int]:
    """One of vectors that there are; none of a part without any, which knows no width."""
    if vectors.ndim != 2 or len(vectors) != len(members):
        raise ValueError(
            f"prototypes: {len(members)} regions need as many vectors of one width, not an array "
            f"of shape {vectors.shape}: build the stage embed again"
        )
    return {vectors.shape[1]} if len(vectors) else set()


def _require_one(widths: set[int]) -> None:
    if len(widths) > 1:
        raise ValueError(
            f"prototypes: the vectors have the widths {sorted(widths)}: build the stage embed again"
        )


def _nothing(left_out: int) -> str:
    if left_out:
        return (
            f"prototypes: none of {left_out} regions has a usable vector, all are zero or not "
            "finite: build the stage embed again"
        )
    return (
        "prototypes: no region of prototypes.splits passed the filter with a name and a vector: "
        "see what it refused; images without regions make no pool, and `opendet data build "
        "shards` packs them without one"
    )


def _table(members: Sequence[Member], schema: "pa.Schema") -> "pa.Table":
    import pyarrow as pa

    columns = {name: [getattr(member, name) for member in members] for name in schema.names}
    return pa.table(columns, schema=schema)
