"""The stage `prototypes`: a pool of small worlds whose clusters are known."""

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from opendet.curate.pool import Member, Pool, read_pool, write_pool
from opendet.curate.prototypes import (
    PrototypesConfig,
    build_pool,
    gather,
    mean_pairwise_cosine,
    nearest_name_accuracy,
)
from opendet.record import Provenance, Record, Region

Doubles = NDArray[np.float64]
NAMES = ("star", "ring", "cross", "heart")
CONFIG = PrototypesConfig(coarse=2, eps=0.02, min_samples=3)


def world(*, each: int = 20, width: int = 8, seed: int = 0) -> tuple[Doubles, list[Member]]:
    """Four tight clouds, in two pairs of neighbours: star and ring, cross and heart."""
    rng = np.random.default_rng(seed)
    axes = np.eye(width)
    middles = [axes[0] + 0.5 * axes[1], axes[0] - 0.5 * axes[1]]
    middles += [axes[2] + 0.5 * axes[3], axes[2] - 0.5 * axes[3]]
    vectors, members = [], []
    for number in range(each):
        for name, middle in zip(NAMES, middles, strict=True):
            vectors.append((middle + rng.normal(0, 0.02, width)) * rng.uniform(0.5, 2))
            members.append(Member(f"toy-{number}", NAMES.index(name), name, f"a {name}"))
    return np.stack(vectors), members


def folder_hash(folder: Path) -> str:
    files = sorted(folder.iterdir())
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def names(pool: Pool, level: str) -> list[str]:
    return [one.medoid.name for one in pool.prototypes if one.level == level]


def test_two_coarse_pairs_and_four_fine_names() -> None:
    vectors, members = world()
    pool = build_pool(vectors, members, CONFIG)
    assert pool.coarse.shape == (2, 8)
    assert pool.fine.shape == (4, 8)
    assert pool.coarse.dtype == pool.fine.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(pool.fine, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(pool.coarse, axis=1), 1, atol=1e-6)
    assert sorted(names(pool, "fine")) == sorted(NAMES)
    fine = [one for one in pool.prototypes if one.level == "fine"]
    assert [one.size for one in fine] == [20] * 4
    families = {frozenset(one.medoid.name for one in fine if one.parent == c) for c in range(2)}
    assert families == {frozenset(("star", "ring")), frozenset(("cross", "heart"))}
    assert [one.parent for one in pool.prototypes[:2]] == [-1, -1]


def test_the_health_of_a_good_pool() -> None:
    health = build_pool(*world(), CONFIG).health
    assert (health.vectors, health.coarse_asked, health.coarse, health.fine) == (80, 2, 2, 4)
    assert (health.names, health.names_covered) == (4, 4)
    assert health.noise_share == 0
    assert health.nearest_name_accuracy == 1
    # cosines of the four middles: 0.6 within a pair, 0 across, so 2 * 0.6 / 6
    assert health.mean_pairwise_cosine == pytest.approx(0.2, abs=0.02)


def test_a_prototype_is_the_mean_direction_and_its_medoid_the_nearest_member() -> None:
    vectors, members = world()
    pool = build_pool(vectors, members, CONFIG)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for one in pool.prototypes[2:]:
        rows = [row for row, member in enumerate(members) if member.name == one.medoid.name]
        mean = unit[rows].mean(axis=0)
        np.testing.assert_allclose(pool.fine[one.index], mean / np.linalg.norm(mean), atol=1e-6)
        assert one.medoid == members[rows[int((unit[rows] @ mean).argmax())]]
        assert one.medoid.text == f"a {one.medoid.name}"


def test_far_vectors_are_noise() -> None:
    vectors, members = world()
    far = -np.eye(8)[4:6]
    strangers = [Member("odd", index, "blob") for index in range(2)]
    health = build_pool(np.concatenate((vectors, far)), [*members, *strangers], CONFIG).health
    assert health.noise_share == pytest.approx(2 / 82)
    assert (health.names, health.names_covered) == (5, 4)
    assert health.nearest_name_accuracy == pytest.approx(80 / 82)


def test_bad_vectors_are_counted_and_left_out() -> None:
    vectors, members = world()
    spoilt = np.concatenate((vectors, np.full((2, 8), np.nan), np.full((1, 8), np.inf)))
    spoilt = np.concatenate((np.zeros((1, 8)), spoilt))
    odd = [Member("odd", index, "blob") for index in range(4)]
    pool = build_pool(spoilt, [odd[0], *members, *odd[1:]], CONFIG)
    clean = build_pool(vectors, members, CONFIG)
    np.testing.assert_array_equal(pool.fine, clean.fine)
    assert pool.prototypes == clean.prototypes
    assert pool.health == replace(clean.health, left_out_not_finite=3, left_out_zero=1)


def test_fewer_distinct_vectors_than_clusters() -> None:
    vectors = np.repeat(np.eye(3), 4, axis=0)
    members = [Member(f"toy-{row}", 0, NAMES[row // 4]) for row in range(12)]
    health = build_pool(vectors, members, PrototypesConfig(coarse=50)).health
    assert (health.coarse_asked, health.coarse, health.fine) == (50, 3, 3)
    assert health.mean_pairwise_cosine == pytest.approx(0)


@pytest.mark.parametrize("rows", [1, 2])
def test_too_little_for_a_dense_spot(tmp_path: Path, rows: int) -> None:
    members = [Member(f"toy-{row}", 0, NAMES[row]) for row in range(rows)]
    pool = build_pool(np.eye(4)[:rows], members, PrototypesConfig())
    assert pool.fine.shape == (0, 4)
    assert pool.health.noise_share == 1
    assert pool.health.mean_pairwise_cosine is None
    assert pool.health.nearest_name_accuracy == 1  # by the coarse ones
    write_pool(tmp_path, pool)
    assert read_pool(tmp_path).fine.shape == (0, 4)


def test_vectors_that_cancel_out_still_have_a_centre() -> None:
    members = [Member("toy-0", 0, "star"), Member("toy-1", 0, "ring")]
    pool = build_pool(np.array([[1.0, 0], [-1, 0]]), members, PrototypesConfig(coarse=1))
    np.testing.assert_array_equal(pool.coarse, [[1, 0]])


def test_minibatches_find_the_same_pairs() -> None:
    pool = build_pool(*world(), CONFIG.model_copy(update={"minibatch_above": 10}))
    assert sorted(names(pool, "fine")) == sorted(NAMES)


@pytest.mark.parametrize("vectors", [np.zeros((3, 4)), np.full((3, 4), np.nan)])
def test_no_usable_vector_is_one_clear_line(vectors: Doubles) -> None:
    members = [Member("toy-0", index, "star") for index in range(3)]
    with pytest.raises(ValueError, match="none of 3 regions has a usable vector") as caught:
        build_pool(vectors, members, CONFIG)
    assert "\n" not in str(caught.value)


def test_vectors_and_members_must_match() -> None:
    with pytest.raises(ValueError, match="1 regions need as many vectors"):
        build_pool(np.eye(2), [Member("toy-0", 0, "star")], CONFIG)


def test_a_pool_survives_the_disk_and_its_bytes_are_stable(tmp_path: Path) -> None:
    pool = build_pool(*world(), CONFIG)
    write_pool(tmp_path / "a", pool)
    write_pool(tmp_path / "b", build_pool(*world(), CONFIG))
    assert folder_hash(tmp_path / "a") == folder_hash(tmp_path / "b")
    back = read_pool(tmp_path / "a")
    np.testing.assert_array_equal(back.coarse, pool.coarse)
    np.testing.assert_array_equal(back.fine, pool.fine)
    assert (back.prototypes, back.health) == (pool.prototypes, pool.health)


def write_world(folder: str) -> None:
    write_pool(Path(folder), build_pool(*world(each=200, width=64), CONFIG))


def test_bytes_do_not_hang_on_hash_seed_or_threads(tmp_path: Path) -> None:
    write_world(str(tmp_path / "here"))
    code = "import sys; from test_prototypes import write_world; write_world(sys.argv[1])"
    for seed, threads in (("1", "1"), ("2", "2")):
        folder = tmp_path / seed
        subprocess.run(
            [sys.executable, "-c", code, str(folder)],
            env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads},
            cwd=Path(__file__).parent,
            check=True,
        )
        assert folder_hash(folder) == folder_hash(tmp_path / "here")


def test_a_damaged_pool_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no pool") as caught:
        read_pool(tmp_path)
    assert "\n" not in str(caught.value)
    write_pool(tmp_path, build_pool(*world(), CONFIG))
    (tmp_path / "pool.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(ValueError, match="holds no pool"):
        read_pool(tmp_path)
    write_pool(tmp_path, build_pool(*world(), CONFIG))
    write_pool(tmp_path / "other", build_pool(np.eye(4)[:1], [Member("a", 0, "b")], CONFIG))
    (tmp_path / "other" / "pool.parquet").replace(tmp_path / "pool.parquet")
    with pytest.raises(ValueError, match="1 rows are described, but there are 2 coarse and 4"):
        read_pool(tmp_path)


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


def test_only_what_passed_of_the_right_splits_is_gathered() -> None:
    first = record("a", region("star"), region("ring", refusal="disagrees"), region(""))
    parts = [
        ([first], vectors_of("a", 0, 1, 2)),
        ([record("b", region("cross"), split="val")], vectors_of("b", 0)),
        ([record("c", region("heart"), region("star"))], vectors_of("c", 1, 0)),
        ([], vectors_of("dropped", 0)),
    ]
    crops, members = gather(parts, PrototypesConfig())
    assert members == [
        Member("a", 0, "star", "one star"),
        Member("c", 1, "star", "one star"),
        Member("c", 0, "heart", "one heart"),
    ]
    np.testing.assert_array_equal(crops, np.eye(4)[[0, 1, 0]])


def test_nothing_gathered_or_two_widths_are_one_clear_line() -> None:
    with pytest.raises(ValueError, match="no region of the splits train passed"):
        gather([], PrototypesConfig())
    parts = [
        ([record("a", region("star"))], vectors_of("a", 0)),
        ([record("b", region("star"))], vectors_of("b", 0, width=5)),
    ]
    with pytest.raises(ValueError, match=r"widths \[4, 5\]"):
        gather(parts, PrototypesConfig())


def test_measures_by_hand() -> None:
    axes = np.eye(3)
    assert mean_pairwise_cosine(axes[:1]) is None
    assert mean_pairwise_cosine(axes[[0, 0, 1]]) == pytest.approx(1 / 3)
    names = ["a", "b", "b"]
    assert nearest_name_accuracy(axes[[0, 1, 0]], names, axes[:2], ["a", "b"]) == 2 / 3


def test_real_text_vectors_make_a_pool(shared_data: Path) -> None:
    folder = shared_data / "vocabularies" / "clip_vitb32_text"
    files = sorted(folder.glob("*coco*.npy"))
    if not files:
        pytest.skip(f"no COCO vectors in {folder}")
    vectors = np.load(files[0]).astype(np.float32)
    members = [Member(f"coco-{row}", 0, f"name {row}") for row in range(len(vectors))]
    config = PrototypesConfig(coarse=8, eps=0.2, min_samples=2)
    health = build_pool(vectors, members, config).health
    assert health.coarse == 8
    assert health.fine > 0
    assert health.mean_pairwise_cosine is not None
    assert 0.4 < health.mean_pairwise_cosine < 0.95
