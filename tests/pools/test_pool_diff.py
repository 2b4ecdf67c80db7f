"""What two pools differ in: pools with known changes, found again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from opendet.curate.pool import Pool, read_pool, write_pool
from opendet.pools.diff import PoolDiff, diff_pools
from opendet.pools.diff_lines import diff_lines
from opendet.pools.matching import match_prototypes, nearest
from opendet.pools.space import require_one_space
from tests.pools.pool_world import BOOT, CAT, DOG, SPOTS, Spot, pool_of, unit, write


@pytest.fixture
def before(tmp_path: Path) -> Path:
    write(tmp_path / "before", SPOTS)
    return tmp_path / "before"


def told(found: PoolDiff) -> str:
    return "\n".join(one for one in diff_lines(found) if isinstance(one, str))


def test_a_pool_and_itself_differ_in_nothing(before: Path) -> None:
    found = diff_pools(before, before)
    assert found.same_bytes
    assert [one.rand_index for one in found.levels] == [1, 1]
    assert [(one.matched, one.moved, one.lost) for one in found.levels] == [(2, 0, 0), (4, 0, 0)]
    assert told(found) == "before and before are the same pool, number for number"


def test_known_changes_are_found(before: Path, tmp_path: Path) -> None:
    """The kitten moves and is called tabby, the dog's are fewer, the boot goes, a hat comes."""
    spots = (
        CAT,
        Spot("tabby", ("tabby", "cat"), (0.9, 0.5, 0, 0)),
        Spot("dog", ("dog",) * 3, (0, 0, 1, 0), parent=1),
        Spot("hat", ("hat", "dog"), (0, 0.2, 0, -1), parent=1),
    )
    write(tmp_path / "after", spots)
    found = diff_pools(before, tmp_path / "after")
    _, fine = found.levels
    assert not found.same_bytes
    assert (found.names_lost, found.names_gained) == (("boot", "kitten"), ("hat", "tabby"))
    assert (fine.matched, fine.lost, fine.gained) == (3, 1, 1)
    assert (fine.lost_names, fine.gained_names) == (("boot",), ("hat",))
    [moved] = fine.farthest
    assert (moved.name, moved.name_after) == ("kitten", "tabby")
    expected = float(unit([(0.95, 0.3)])[0] @ unit([(0.9, 0.5)])[0])
    assert moved.cosine == pytest.approx(expected, abs=1e-6)
    assert [(one.name, one.size, one.size_after) for one in fine.resized] == [("dog", 4, 3)]
    assert "kitten -> tabby" in told(found)
    assert "dog: 4 -> 3 members" in told(found)
    assert found.shared_members == 10  # the keys go on from the first


def test_one_prototype_splits_and_the_way_back_merges(tmp_path: Path) -> None:
    one = Spot("cat", ("cat",) * 4, (1, 0.2, 0, 0))
    two = (Spot("cat", ("cat",) * 2, (1, 0, 0, 0)), Spot("kitten", ("cat",) * 2, (1, 0.4, 0, 0)))
    write(tmp_path / "one", (one, DOG, BOOT))
    write(tmp_path / "two", (*two, DOG, BOOT))
    fine = diff_pools(tmp_path / "one", tmp_path / "two").levels[1]
    assert (fine.split, fine.merged, fine.lost, fine.gained) == (1, 0, 0, 0)
    assert [(it.name, it.into) for it in fine.splits] == [("cat", ("cat", "kitten"))]
    back = diff_pools(tmp_path / "two", tmp_path / "one").levels[1]
    assert (back.split, back.merged) == (0, 1)
    assert [(it.name, it.into) for it in back.merges] == [("cat", ("cat", "kitten"))]


def test_the_rand_index_is_of_shared_members(tmp_path: Path) -> None:
    """Clusters 0 0 1 1 against 0 0 1 2, of four members that both have: 4/7."""
    a, b, c = (
        Spot(name, (name,), at) for name, at in (("a", (1, 0)), ("b", (0, 1)), ("c", (-1, 0)))
    )
    two = (replace(a, members=("a", "a")), replace(b, members=("b", "b")))
    write(tmp_path / "before", two, keys=["1", "2", "3", "4"])
    write(
        tmp_path / "after", (replace(a, members=("a",) * 3), b, c), keys=["9", "1", "2", "3", "4"]
    )
    found = diff_pools(tmp_path / "before", tmp_path / "after")
    assert found.shared_members == 4
    assert found.levels[1].rand_index == pytest.approx(4 / 7)
    assert found.levels[0].rand_index == 1  # one family in both


def test_without_assignments_places_alone_are_compared(before: Path) -> None:
    (before / "assignments.parquet").unlink()
    found = diff_pools(before, before)
    assert (found.shared_members, found.levels[0].rand_index) == (0, None)


def test_a_level_that_one_pool_lacks_is_lost_whole(before: Path, tmp_path: Path) -> None:
    pool = read_pool(before)
    bare = Pool(pool.coarse, pool.fine[:0], pool.prototypes[:2], replace(pool.health, fine=0))
    write_pool(tmp_path / "bare", bare)
    fine = diff_pools(before, tmp_path / "bare").levels[1]
    assert (fine.matched, fine.lost, fine.gained, fine.mean_cosine) == (0, 4, 0, None)
    assert diff_pools(tmp_path / "bare", before).levels[1].gained == 4


def test_matching_by_hand() -> None:
    old, new = unit([(1, 0), (0, 1), (1, 1)]), unit([(0, 1), (1, 0.9)])
    found = match_prototypes(old, new, same_from=0.9)
    assert (found.before.tolist(), found.after.tolist()) == ([1, 2], [0, 1])
    assert (found.lost.tolist(), found.gained.tolist()) == ([0], [])
    assert nearest(old, new).rows.tolist() == [1, 0, 1]


def test_pools_of_another_width_or_clip_are_one_line(before: Path, tmp_path: Path) -> None:
    write(tmp_path / "wide", [replace(one, at=(*one.at, 0)) for one in SPOTS])
    with pytest.raises(ValueError, match="4 and 5 wide: they are of two CLIP models") as raised:
        diff_pools(before, tmp_path / "wide")
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match=r"there is no folder .*/nothing: name a pool's"):
        diff_pools(before, tmp_path / "nothing")


def test_another_clip_of_the_same_width_is_seen_by_its_names() -> None:
    rng = np.random.default_rng(0)
    places = rng.normal(size=(20, 32)) + 1
    names = [chr(97 + one) for one in range(20)]
    spots = [Spot(name, (name,), at) for name, at in zip(names, places, strict=True)]
    turned, _ = np.linalg.qr(rng.normal(size=(32, 32)))
    other = [replace(one, at=turned @ one.at) for one in spots]
    near = [replace(one, at=one.at + rng.normal(size=32) / 4) for one in spots]
    require_one_space(pool_of(spots), pool_of(near))
    with pytest.raises(
        ValueError, match=r"the 20 names that both pools have .* two CLIP"
    ) as raised:
        require_one_space(pool_of(spots), pool_of(other))
    assert "\n" not in str(raised.value)
    require_one_space(pool_of(spots[:9]), pool_of(other[:9]))  # too few to tell
