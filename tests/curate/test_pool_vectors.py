"""What the pool is made of: only what passed, in the parts' order, bad vectors left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from opendet.curate.pool import Member
from opendet.curate.pool_vectors import Gathered, gather, passed
from opendet.record import Provenance, Record, Region


@dataclass(frozen=True)
class ToyVectors:
    keys: tuple[str, ...]
    regions: tuple[int, ...]
    crops: NDArray[np.float32]


def region(name: str, *, refusal: str = "") -> Region:
    box = (0.0, 0.0, 10.0, 10.0)
    names = (name,) if name else ()
    return Region(
        box, Provenance("source"), names=names, description=f"one {name}", refusal=refusal
    )


def record(key: str, *regions: Region, split: str = "train") -> Record:
    return Record(
        key, "toy", "toy", split, "CC0-1.0", "0.png", "png", 1, "00", 64, 64, regions=regions
    )


def vectors_of(key: str, *rows: int, width: int = 4) -> ToyVectors:
    return ToyVectors((key,) * len(rows), rows, np.eye(width, dtype=np.float32)[list(rows)])


def members_in(gathered: Gathered) -> list[Member]:
    return [gathered.member(row) for row in range(gathered.vectors.rows)]


def toys(*names: str) -> list[Member]:
    return [Member(f"toy-{row}", row, name) for row, name in enumerate(names)]


def test_only_what_passed_of_the_right_splits_is_gathered(tmp_path: Path) -> None:
    first = record("a", region("star"), region("ring", refusal="disagrees"), region(""))
    parts = [
        ([first], vectors_of("a", 0, 1, 2)),
        ([record("b", region("cross"), split="val")], vectors_of("b", 0)),
        ([record("c", region("heart"), region("star"))], vectors_of("c", 1, 0)),
        ([], vectors_of("dropped", 0)),
    ]
    found = gather(passed(parts, ("train",)), tmp_path)
    assert members_in(found) == [
        Member("a", 0, "star", "one star"),
        Member("c", 1, "star", "one star"),
        Member("c", 0, "heart", "one heart"),
    ]
    assert found.names().tolist() == [0, 0, 1]
    np.testing.assert_array_equal(found.vectors.read(np.arange(3)), np.eye(4)[[0, 1, 0]])
    np.testing.assert_array_equal(found.vectors.read(np.array([2, 0])), np.eye(4)[[0, 0]])


def test_what_has_no_direction_is_counted_and_left_out(tmp_path: Path) -> None:
    rows = np.array([[0, 0], [3, 4], [np.nan, 1], [np.inf, 0], [1e-9, 0], [0, 2]])
    found = gather([(rows, toys(*"abcdef"))], tmp_path)
    assert (found.not_finite, found.zero) == (2, 2)  # 1e-9 is zero to float16
    assert [member.name for member in members_in(found)] == ["b", "f"]
    np.testing.assert_allclose(
        found.vectors.read(np.arange(2)), [[0.6, 0.8], [0.0, 1.0]], atol=1e-6
    )


def test_names_of_several_parts_have_one_numbering(tmp_path: Path) -> None:
    parts = [(np.eye(2), toys("a", "b")), (np.eye(2), toys("b", "c")), (np.eye(2), toys("a", "a"))]
    assert gather(parts, tmp_path).names().tolist() == [0, 1, 1, 2, 0, 0]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([], "no region of prototypes.splits passed"),
        ([(np.zeros((0, 1)), [])], "no region of prototypes.splits passed"),
        ([(np.zeros((2, 3)), toys("a", "b"))], "none of 2 regions has a usable vector"),
        ([(np.full((1, 3), np.nan), toys("a"))], "none of 1 regions has a usable vector"),
        ([(np.eye(2), toys("a"))], "1 regions need as many vectors"),
        ([(np.ones(2), toys("a", "b"))], r"not an array of shape \(2,\)"),
        ([(np.eye(4)[:1], toys("a")), (np.eye(5)[:1], toys("b"))], r"the widths \[4, 5\]"),
    ],
)
def test_bad_input_is_one_clear_line(
    tmp_path: Path,
    parts: Sequence[tuple[NDArray[np.float64], Sequence[Member]]],
    said: str,
) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        gather(parts, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_part_without_vectors_knows_no_width(tmp_path: Path) -> None:
    parts = [(np.zeros((0, 1)), []), (np.eye(3), toys("a", "b", "c"))]
    assert gather(parts, tmp_path).vectors.width == 3
