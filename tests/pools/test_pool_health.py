"""A pool's health, each number worked by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from opendet.curate.pool import read_pool
from opendet.curate.prototypes import mean_pairwise_cosine
from opendet.curate.vector_file import VectorFile
from opendet.pools.assignments import assignments_of, members_of, plain_names
from opendet.pools.figures import CLOSER, figures
from opendet.pools.health import (
    Margins,
    gini,
    margins,
    measure_health,
    read_measures,
    write_measures,
)
from opendet.pools.nearest import name_ranks, nearest_names
from opendet.pools.vocabulary import Coverage
from opendet.record import Provenance, Record, Region
from tests.pools.pool_world import SPOTS, Spot, pool_of, unit, write

# 11 members: cat, cat, Cats | kitten, cat | dog x 4 | boot, dog; one noise: zebra, in family 0.
NOISE = (("zebra", 0),)


def test_assignments_are_read_as_they_were_written(tmp_path: Path) -> None:
    pool = write(tmp_path, SPOTS, noise=NOISE)
    found = assignments_of(tmp_path, read_pool(tmp_path))
    assert found is not None
    assert len(found) == 12
    assert found.written(np.array([2, 3, 11])) == ["Cats", "kitten", "zebra"]
    assert found.fine.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, -1]
    assert found.coarse.tolist() == [0] * 5 + [1] * 6 + [0]
    assert members_of(0, "fine", found) == {"cat": 2, "Cats": 1}
    names = plain_names(pool, found)
    assert names.members[0] == names.members[2] == names.fine[0]  # Cats are cats
    assert names.members[3] == names.fine[1] != names.fine[0]


def test_a_pool_of_before_has_no_assignments(tmp_path: Path) -> None:
    pool = write(tmp_path, SPOTS)
    (tmp_path / "assignments.parquet").unlink()
    assert assignments_of(tmp_path, pool) is None
    found = read_measures(tmp_path, pool)
    assert found.fine is not None
    assert found.fine.purity is found.stability is found.margins is found.nearest is None
    assert found.fine.largest == 4


def test_assignments_of_another_pool_or_of_nothing_are_one_line(tmp_path: Path) -> None:
    pool = write(tmp_path, SPOTS)
    smaller = pool_of(SPOTS[:2])
    with pytest.raises(ValueError, match=r"names rows 0 to 1 of 1 prototypes: it is of another"):
        assignments_of(tmp_path, smaller)
    path = tmp_path / "assignments.parquet"
    pq.write_table(pa.table({"key": ["a"]}), path)
    for _ in range(2):
        with pytest.raises(ValueError, match="holds no assignments") as raised:
            assignments_of(tmp_path, pool)
        assert "\n" not in str(raised.value)
        path.write_bytes(b"no parquet")


def test_measures_by_hand(tmp_path: Path) -> None:
    write(tmp_path, SPOTS, noise=NOISE)
    found = read_measures(tmp_path, read_pool(tmp_path))
    fine, coarse = found.fine, found.coarse
    assert fine is not None
    assert fine.purity is not None
    assert coarse.purity is not None
    assert (fine.prototypes, fine.smallest, fine.median, fine.largest) == (4, 2, 2.5, 4)
    assert fine.largest_share == pytest.approx(4 / 11)
    # cat 3 of 3, kitten 1 of 2, dog 4 of 4, boot 1 of 2
    assert fine.purity.members == pytest.approx(9 / 11)
    assert fine.purity.prototypes == pytest.approx((1 + 0.5 + 1 + 0.5) / 4)
    # the family cat holds cat x 4, kitten and zebra; the family dog dog x 5 and boot
    assert coarse.purity.members == pytest.approx((4 + 5) / 12)
    assert (fine.purity.names, fine.purity.names_kept) == (5, 4)
    assert coarse.purity.names_gathered == 1  # cat and dog; the others have one member
    assert fine.purity.names_gathered == 0


def test_gini_by_hand() -> None:
    assert gini(np.array([5, 5, 5])) == pytest.approx(0)
    assert gini(np.array([0, 0, 0, 8])) == pytest.approx(3 / 4)
    assert gini(np.array([1, 3])) == pytest.approx(0.25)


def test_what_vectors_and_a_clustering_add(tmp_path: Path) -> None:
    pool = write(tmp_path, SPOTS)
    assignments = assignments_of(tmp_path, pool)
    rows = 7 * pool.fine[[0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3]]  # of any length
    rows.astype(np.float16).tofile(tmp_path / "vectors")
    found = measure_health(
        pool,
        assignments,
        vectors=VectorFile(tmp_path / "vectors", 11, 4),
        cluster=lambda units, _: (units @ pool.coarse.T).argmax(axis=1),
    )
    assert found.stability is not None
    assert found.nearest is not None
    assert (found.stability.mean, found.stability.vectors) == (1, 11)
    assert found.vectors_mean_cosine == pytest.approx(mean_pairwise_cosine(unit(rows)), abs=1e-3)
    assert found.nearest.first == pytest.approx(9 / 11)  # the cat of kitten, and the dog of boot
    write_measures(tmp_path, found)
    assert read_measures(tmp_path, pool) == found
    (tmp_path / "measures.json").write_text('{"coarse": 1}')
    with pytest.raises(ValueError, match=r"measures.json: coarse") as raised:
        read_measures(tmp_path, pool)
    assert "\n" not in str(raised.value)


def record(*regions: Region) -> Record:
    return Record(
        key="a", source="s", batch="b", split="train", licence="CC0-1.0", file="a.jpg",
        format="jpg", bytes=1, sha256="0" * 64, width=9, height=9, regions=regions,
    )  # fmt: skip


def region(agreement: float | None, rival: float | None, refusal: str = "") -> Region:
    return Region(
        (0, 0, 5, 5),
        Provenance("source"),
        names=("cat",),
        agreement=agreement,
        rival_agreement=rival,
        refusal=refusal,
    )


def test_margins_before_and_after_the_filter() -> None:
    kept, refused = region(0.5, 0.25), region(0.25, 0.5, "disagrees")
    unknown = region(None, None), region(0.5, None)
    found = margins([record(kept, refused, *unknown), record(kept)])
    assert found == Margins(judged=3, kept=2, before=0.25 / 3, after=0.25)
    assert margins([record(*unknown)]) is None
    assert margins([record(refused)]) == Margins(1, 0, -0.25, None)


def test_ranks_count_names_not_prototypes() -> None:
    spots = (
        Spot("cat", ("cat",), (1, 0, 0)),
        Spot("cat", ("cat",), (0.99, 0.1, 0)),
        Spot("Kittens", ("kitten",), (0.8, 0.6, 0)),
        Spot("dog (animal)", ("dog",), (0, 0, 1)),
    )
    pool = pool_of(spots)
    near_cat = unit([(1, 0.05, 0)])
    vectors = np.repeat(near_cat, 5, axis=0)
    names = ["cat", "kitten", "dog (animal)", "horse", "horse|kitten"]
    assert name_ranks(vectors, names, pool, "fine").tolist() == [1, 2, 3, 0, 2]
    found = nearest_names(vectors, names, pool)
    assert (found.names, found.judged, found.lacking) == (3, 4, 1)
    assert (found.first, found.first_five, found.median_rank) == (0.25, 1, 2)
    assert nearest_names(near_cat, ["horse"], pool).first is None


def said(pool_folder: Path, **changes: object) -> dict[str, tuple[str, str, bool | None]]:
    pool = read_pool(pool_folder)
    measures = replace(read_measures(pool_folder, pool), **changes)  # type: ignore[arg-type]
    covered = [Coverage("all", 10, 4, 2, 4)]
    found = figures(pool.health, measures, covered=covered)
    return {one.what: (one.value, one.bar, one.holds) for one in found}


def test_figures_say_what_holds(tmp_path: Path) -> None:
    write(tmp_path, SPOTS, noise=NOISE)
    told = said(tmp_path, margins=Margins(9, 4, 0.1, 0.05), vectors_mean_cosine=0.5)
    assert told["noise"] == ("8.3%", "≤ 50%", True)
    assert told["fine purity"] == ("81.8%", "≥ 70%", True)
    assert told["largest fine prototype"] == ("36.4%", "≤ 75%", True)  # 3 of 4
    assert told["names kept"] == ("80.0%", "≥ 50%", True)
    assert told["all names of the vocabulary"] == ("40.0%", "≥ 50%", False)
    assert told["margin after the filter"] == ("+0.050", "> +0.100", False)
    assert told["mean cosine of two prototypes"][1:] == (f"≤ {0.5 + CLOSER:.3f}", True)
    assert told["names gathered, fine"][1:] == ("", None)
    assert "stability over seeds" not in told


def test_too_few_dense_spots_and_none_at_all_are_seen(tmp_path: Path) -> None:
    write(tmp_path, SPOTS, noise=NOISE)
    pool = read_pool(tmp_path)
    measures = read_measures(tmp_path, pool)
    assert "fine prototypes" not in said(tmp_path)
    for changes, what, told in (
        ({"fine_asked": 4}, "fine prototypes", None),
        ({"fine_asked": 9}, "fine prototypes", ("4", "≥ 9", False)),
        ({"fine": 0, "noise_share": 1.0}, "noise", ("100.0%", "≤ 50%", False)),
    ):
        health = replace(pool.health, **changes)  # type: ignore[arg-type]
        found = {one.what: (one.value, one.bar, one.holds) for one in figures(health, measures)}
        assert found.get(what) == told


def test_one_prototype_that_swallows_the_others_is_seen(tmp_path: Path) -> None:
    sizes = [30, *[1] * 39]
    rng = np.random.default_rng(0)
    write(
        tmp_path, [Spot(str(i), ("x",) * size, rng.normal(size=8)) for i, size in enumerate(sizes)]
    )
    assert said(tmp_path)["largest fine prototype"] == ("43.5%", "≤ 10%", False)


def test_collapsed_prototypes_are_seen_without_their_vectors(tmp_path: Path) -> None:
    near = [Spot(str(one), (str(one),), (1, one / 50, 0)) for one in range(5)]
    write(tmp_path, near)
    assert said(tmp_path)["mean cosine of two prototypes"][1:] == ("< 0.75", False)
