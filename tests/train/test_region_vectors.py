"""Crops' vectors by region: what the stage `embed` wrote is found again, and made ready once."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from opendet.curate.embed import EmbeddedRecord
from opendet.curate.vectors import write_vectors
from opendet.data.batch import RegionRef
from opendet.manifest import FileStamp, Manifest, PartCommit, ShardName, write_manifest
from opendet.record import Record
from opendet.train import region_store
from opendet.train.region_store import COMMIT, ROWS
from opendet.train.region_vectors import RegionVectors

Rows = NDArray[np.float16]


def _embedded(key: str, regions: Mapping[int, Sequence[float]]) -> EmbeddedRecord:
    plain = ("source", "first", "train", "CC0", f"{key}.png", "png", 1, "0" * 64, 8, 8)
    told = np.array(list(regions.values()), np.float16)
    rows: Rows = told.reshape(len(regions), told.size // max(1, len(regions)))
    return EmbeddedRecord(Record(key, *plain), tuple(regions), rows, rows)


def _publish(folder: Path, parts: Sequence[Mapping[str, Mapping[int, Sequence[float]]]]) -> None:
    """A stage `embed` whose parts are record -> region -> vector."""
    folder.mkdir(parents=True, exist_ok=True)
    commits = []
    for number, records in enumerate(parts):
        name = f"first-{number:06d}"
        path = folder / f"{name}.vectors.parquet"
        write_vectors(path, [_embedded(*one) for one in records.items()])
        shard = ShardName(name, "first", "train")
        files = {path.name: FileStamp.of(path)}
        commits.append(PartCommit(shard, len(records), len(records), (), (), {}, files))
    write_manifest(folder, Manifest("embed", "f", tuple(commits)))


WORLD = [
    {"a": {0: (1, 0, 0), 2: (0, 2, 0)}, "b": {}},
    {},
    {"c": {1: (0, 0.6, 0.8)}, "1-a": {0: (0, 0, 1)}},
]


@pytest.fixture
def embed(tmp_path: Path) -> Path:
    _publish(tmp_path / "embed", WORLD)
    return tmp_path / "embed"


def test_each_region_finds_its_own_unit_vector(embed: Path, tmp_path: Path) -> None:
    crops = RegionVectors.open(embed, tmp_path / "kept")
    assert (len(crops), crops.width, crops.left_out) == (4, 3, {})
    refs = [RegionRef("c", 1), RegionRef("a", 2), RegionRef("a", 1), RegionRef("1-a", 0)]
    vectors, known = crops.of([*refs, RegionRef("nobody", 0), RegionRef("a", 0)])
    assert known.tolist() == [True, True, False, True, False, True]
    wanted = [[0, 0.6, 0.8], [0, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0]]
    torch.testing.assert_close(vectors, torch.tensor(wanted), rtol=1e-3, atol=1e-3)
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors[known].norm(dim=1), torch.ones(4))


def test_nothing_asked_is_nothing_told(embed: Path, tmp_path: Path) -> None:
    vectors, known = RegionVectors.open(embed, tmp_path / "kept").of([])
    assert (vectors.shape, known.shape) == ((0, 3), (0,))


def test_vectors_of_no_use_are_unknown_and_counted(tmp_path: Path) -> None:
    rows = {0: (1, 0), 1: (0, 0), 2: (float("nan"), 1), 3: (float("inf"), 1)}
    _publish(tmp_path / "embed", [{"a": rows}])
    for _ in range(2):  # made, then found
        crops = RegionVectors.open(tmp_path / "embed", tmp_path / "kept")
        assert crops.left_out == {"not finite": 2, "zero": 1}
        vectors, known = crops.of([RegionRef("a", region) for region in range(4)])
        assert known.tolist() == [True, False, False, False]
        assert vectors.isfinite().all()


def test_all_of_no_use_is_no_error(tmp_path: Path) -> None:
    _publish(tmp_path / "embed", [{"a": {0: (0, 0)}}])
    crops = RegionVectors.open(tmp_path / "embed", tmp_path / "kept")
    assert crops.of([RegionRef("a", 0)])[1].tolist() == [False]


class BegunError(Exception):
    """It was made again."""


def test_it_is_made_once_and_again_for_other_parts(
    embed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    RegionVectors.open(embed, kept)
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(region_store, "_gather", _refuse)
        RegionVectors.open(embed, kept)
    _publish(embed, [*WORLD, {"d": {0: (1, 1, 0)}}])
    crops = RegionVectors.open(embed, kept)
    assert crops.of([RegionRef("d", 0)])[1].all()
    _publish(embed, WORLD)
    RegionVectors.open(embed, kept)
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before


def _refuse(*_: object) -> None:
    raise BegunError


@pytest.mark.parametrize("name", [COMMIT, ROWS])
def test_what_is_not_whole_is_made_again(embed: Path, tmp_path: Path, name: str) -> None:
    kept = tmp_path / "kept"
    RegionVectors.open(embed, kept)
    content = (kept / name).read_bytes()
    (kept / name).write_bytes(content[: len(content) // 2])
    crops = RegionVectors.open(embed, kept)
    assert crops.of([RegionRef("a", 2)])[0].tolist() == [[0, 1, 0]]
    assert (kept / name).read_bytes() == content


def test_killed_while_it_is_made_there_is_nothing_to_find(
    embed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    RegionVectors.open(embed, kept)
    _publish(embed, [*WORLD, {"d": {0: (1, 1, 0)}}])
    with monkeypatch.context() as patch:
        patch.setattr(region_store, "_commit", _refuse)
        with pytest.raises(BegunError):
            RegionVectors.open(embed, kept)
    assert not (kept / COMMIT).exists()
    assert RegionVectors.open(embed, kept).of([RegionRef("d", 0)])[1].all()


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([{"a": {0: (1, 0)}}, {"b": {0: (1, 0, 0)}}], "has vectors of widths 2 and 3: build"),
        ([{"a": {}}, {}], "has no vector of any region: detector.semantics"),
        ([{"a": {0: (1, 0)}}, {"a": {0: (0, 1)}}], "1 regions have two vectors: build"),
    ],
    ids=["two widths", "none", "twice"],
)
def test_bad_vectors_in_one_line(
    tmp_path: Path, parts: list[dict[str, dict[int, tuple[float, ...]]]], said: str
) -> None:
    _publish(tmp_path / "embed", parts)
    with pytest.raises(ValueError, match=said) as error:
        RegionVectors.open(tmp_path / "embed", tmp_path / "kept")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "kept" / COMMIT).exists()


def test_no_stage_and_no_file_in_one_line(embed: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"manifest\.json is missing: build the stage first"):
        RegionVectors.open(tmp_path / "nothing", tmp_path / "kept")
    path = embed / "first-000002.vectors.parquet"
    for content in (b"PAR1", b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"holds no vectors .*: build the stage") as error:
            RegionVectors.open(embed, tmp_path / "kept")
        assert "\n" not in str(error.value)
    path.unlink()
    with pytest.raises(ValueError, match="holds no vectors"):
        RegionVectors.open(embed, tmp_path / "kept")
