"""The stage `prototypes`: a pool of small worlds whose clusters are known."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from opendet.curate.pool import Member, Pool, read_pool, write_pool
from opendet.curate.prototypes import (
    PrototypesConfig,
    build_pool,
    mean_pairwise_cosine,
    nearest_name_accuracy,
)

Doubles = NDArray[np.float64]
NAMES = ("star", "ring", "cross", "heart")
CONFIG = PrototypesConfig(coarse=2, eps=0.02, min_samples=3)
ODD = Member("odd", 0, "blob")


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
        np.testing.assert_allclose(pool.fine[one.index], mean / np.linalg.norm(mean), atol=1e-4)
        assert one.medoid == members[rows[int((unit[rows] @ mean).argmax())]]
        assert one.medoid.text == f"a {one.medoid.name}"


def test_purity_is_the_share_of_the_prototype_s_own_name() -> None:
    vectors, members = world()
    # Three of the twenty stars are called comets, and none of them lies in the middle.
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    stars = [row for row, member in enumerate(members) if member.name == "star"]
    outer = sorted(stars, key=lambda row: float(unit[row] @ unit[stars].mean(axis=0)))[:3]
    for row in outer:
        members[row] = replace(members[row], name="comet")
    pool = build_pool(vectors, members, CONFIG)
    fine = {one.medoid.name: one.purity for one in pool.prototypes if one.level == "fine"}
    assert fine == {"star": 17 / 20, "ring": 1, "cross": 1, "heart": 1}


def test_the_largest_fine_ones_are_kept_and_the_rest_is_said() -> None:
    vectors, members = world()
    more = [row for row, member in enumerate(members) if member.name in ("ring", "heart")]
    vectors, members = (
        np.concatenate((vectors, vectors[more])),
        [*members, *(members[row] for row in more)],
    )
    pool = build_pool(vectors, members, CONFIG.model_copy(update={"fine": 2}))
    assert sorted(names(pool, "fine")) == ["heart", "ring"]
    health = pool.health
    assert (health.fine_asked, health.fine_found, health.fine, health.eps_rounds) == (2, 4, 2, 0)
    assert health.eps == CONFIG.eps
    assert health.noise_share == 0
    assert health.cut_share == pytest.approx(40 / 120)


def test_assignments_say_what_became_of_each_vector(tmp_path: Path) -> None:
    vectors, members = world()
    pool = build_pool(np.concatenate((vectors, -np.eye(8)[4:5])), [*members, ODD], CONFIG)
    write_pool(tmp_path, pool)
    table = pq.read_table(tmp_path / "assignments.parquet")
    assert table.column_names == ["key", "region", "name", "coarse", "fine"]
    assert table["key"].to_pylist() == [*(member.key for member in members), "odd"]
    assert table["name"].to_pylist() == [*(member.name for member in members), "blob"]
    assert table["fine"].to_pylist()[-1] == -1
    fine = [one for one in pool.prototypes if one.level == "fine"]
    for row in table.to_pylist()[:-1]:
        assert fine[row["fine"]].medoid.name == row["name"]
        assert fine[row["fine"]].parent == row["coarse"]


def test_fewer_clusters_than_asked_are_said(caplog: pytest.LogCaptureFixture) -> None:
    build_pool(np.eye(3), [ODD] * 3, PrototypesConfig(coarse=50))
    assert "50 coarse clusters were asked for; 3 vectors make 3" in caplog.text
    assert "fine clusters" not in caplog.text
    build_pool(*world(), CONFIG.model_copy(update={"fine": 999}))
    assert "999 fine clusters were asked for; with an eps of " in caplog.text


@pytest.mark.parametrize("eps", [0, 3, "automatic"])
def test_a_wrong_eps_is_told(eps: object) -> None:
    with pytest.raises(ValidationError, match="eps"):
        PrototypesConfig.model_validate({"eps": eps})


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


def test_vectors_of_another_pool_are_one_clear_line(tmp_path: Path) -> None:
    pool = build_pool(*world(), CONFIG)
    write_pool(tmp_path, pool)
    for coarse, fine, said in (
        (pool.coarse[:1], np.concatenate([pool.coarse[1:], pool.fine]), "1 coarse and 5 fine"),
        (pool.coarse, pool.fine[:, :3], "no one width"),
        (pool.coarse[0], pool.fine, "no one width"),
    ):
        write_pool(tmp_path / "other", replace(pool, coarse=coarse, fine=fine))
        (tmp_path / "other" / "pool.safetensors").replace(tmp_path / "pool.safetensors")
        with pytest.raises(ValueError, match=said) as caught:
            read_pool(tmp_path)
        assert "\n" not in str(caught.value)


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
