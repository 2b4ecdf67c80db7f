"""A pool straight from files of vectors."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from opendet.curate.pool import read_pool
from opendet.curate.prototypes import PrototypesConfig
from opendet.pools.card import card_of
from opendet.pools.make import make_pool, read_named
from opendet.pools.nearest import name_ranks
from opendet.pools.vectors import read_vector_file
from tests.pools.pool_world import unit

CONFIG = PrototypesConfig(coarse=2, eps=0.05, min_samples=1)
ROWS = unit([(1, 0, 0), (0.99, 0.1, 0), (0, 0, 1)])


@pytest.fixture
def files(tmp_path: Path) -> tuple[list[Path], list[Path]]:
    """Two vocabularies: Cat, kitten and dog; cat, cats and `Dog`, a bit elsewhere."""
    np.save(tmp_path / "a.npy", (5 * ROWS).astype(np.float16))
    np.save(tmp_path / "b.npy", unit(ROWS + 0.001))
    (tmp_path / "a.txt").write_text("Cat\nkitten\ndog\n")
    (tmp_path / "b.json").write_text('["cat", "cats", "Dog"]')
    return [tmp_path / "a.npy", tmp_path / "b.npy"], [tmp_path / "a.txt", tmp_path / "b.json"]


def test_texts_of_one_name_lie_together(
    files: tuple[list[Path], list[Path]], tmp_path: Path
) -> None:
    made = make_pool(*files, tmp_path / "pool", CONFIG)
    assert (made.health.coarse, made.health.fine, made.health.vectors) == (2, 2, 6)
    card = card_of(tmp_path / "pool")
    purity = card.measures.coarse.purity
    assert purity is not None
    assert purity.members == pytest.approx(5 / 6)  # the kitten lies with the cats
    assert purity.names_gathered == 1
    assert card.measures.stability is not None
    assert card.measures.stability.mean == 1
    assert card.origin is not None
    assert [(one.vectors, one.rows) for one in card.origin.files] == [("a.npy", 3), ("b.npy", 3)]
    assert card.origin.settings["eps"] == 0.05


def test_the_same_files_give_the_same_bytes(
    files: tuple[list[Path], list[Path]], tmp_path: Path
) -> None:
    for name in ("one", "two"):
        make_pool(*files, tmp_path / name, CONFIG)
    contents = [
        {path.name: path.read_bytes() for path in sorted((tmp_path / name).iterdir())}
        for name in ("one", "two")
    ]
    assert contents[0] == contents[1]
    assert {"pool.safetensors", "measures.json", "origin.json"} <= contents[0].keys()


def test_vectors_that_are_no_directions_are_counted_and_left_out(tmp_path: Path) -> None:
    rows = np.array([(1, 0, 0), (0, 0, 0), (np.nan, 0, 0), (0, 1, 0)], np.float32)
    np.savez(tmp_path / "v.npz", vectors=rows, names=np.array(["a", "b", "c", "d"]))
    made = make_pool([tmp_path / "v.npz"], [], tmp_path / "pool", CONFIG)
    health = made.health
    assert (health.vectors, health.left_out_zero, health.left_out_not_finite) == (2, 1, 1)
    assert read_pool(tmp_path / "pool").health == health


def test_files_may_hold_any_scale(tmp_path: Path) -> None:
    """What float16 would cut off, at either end, is no other pool."""
    rng = np.random.default_rng(0)
    rows = unit(rng.normal(size=(3, 16)).repeat(8, axis=0) + 0.05 * rng.normal(size=(24, 16)))
    pools = []
    for place, scale in enumerate((1, 2.0**-30, 2.0**30)):
        path = tmp_path / f"{place}.npz"
        np.savez(path, vectors=(rows * scale).astype(np.float32), names=np.array(["a"] * 24))
        pools.append(make_pool([path], [], tmp_path / f"pool{place}", CONFIG))
    assert pools[0].health.vectors == 24
    for pool in pools[1:]:
        assert pool.health == pools[0].health
        np.testing.assert_array_equal(pool.fine, pools[0].fine)


def test_names_are_of_their_file_and_row(files: tuple[list[Path], list[Path]]) -> None:
    found = read_named(*files)
    assert found.rows.shape == (6, 3)
    assert [(one.key, one.region, one.name) for one in found.members][2:4] == [
        ("a.npy", 2, "dog"),
        ("b.npy", 0, "cat"),
    ]


def test_files_that_do_not_go_together_are_one_line(
    files: tuple[list[Path], list[Path]], tmp_path: Path
) -> None:
    vectors, names = files
    wide = tmp_path / "wide.npz"
    np.savez(wide, rows=np.ones((1, 9)), names=np.array(["a"]))
    unnamed = tmp_path / "unnamed.json"
    unnamed.write_text('["cat", " ", ""]')
    for given, said in (
        ((vectors, names[:1]), "2 files of vectors need as many of names, not 1"),
        ((vectors, []), "a.npy brings no names of its vectors"),
        ((vectors[:1], [wide]), "is no text of names"),
        (([*vectors, wide], [*names, names[0]]), r"vectors of the widths \[3, 9\]"),
        ((vectors, [names[0], unnamed]), "unnamed.json has 2 empty names, the first for row 1"),
    ):
        with pytest.raises(ValueError, match=said) as raised:
            read_named(*given)
        assert "\n" not in str(raised.value)


def test_a_folder_in_use_stays_as_it_is(
    files: tuple[list[Path], list[Path]], tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="mine is not empty"):
        make_pool(*files, tmp_path / "mine", CONFIG)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"a": np.ones((2, 3)), "b": np.ones((2, 3))}, "holds 2 matrices of floats: save one"),
        ({"a": np.ones((2, 3), int)}, "holds 0 matrices of floats"),
        ({"a": np.ones((0, 3))}, "holds an empty matrix: save a row for each name"),
        ({"a": np.ones((2, 3)), "n": np.array(["x"])}, "holds 1 names for 2 vectors"),
    ],
)
def test_a_file_of_other_arrays_is_one_line(
    tmp_path: Path, arrays: dict[str, np.ndarray], said: str
) -> None:
    np.savez(tmp_path / "v.npz", **arrays)
    with pytest.raises(ValueError, match=said) as raised:
        read_vector_file(tmp_path / "v.npz")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_array_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "v.npy").write_text("cat, dog")
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], object), allow_pickle=True)
    for name, said in (
        ("v.npy", "is no NumPy file of numbers"),
        ("o.npy", "is no NumPy file of numbers"),
        ("w.npy", "is missing"),
    ):
        with pytest.raises(ValueError, match=said) as raised:
            read_vector_file(tmp_path / name)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_a_damaged_file_is_no_error_of_ours(tmp_path: Path, ending: str) -> None:
    """Bits flipped in its first bytes, and cut off anywhere."""
    whole = tmp_path / f"whole.{ending}"
    (np.save if ending == "npy" else np.savez)(whole, np.ones((20, 8), np.float32))
    raw, rng = whole.read_bytes(), np.random.default_rng(0)
    path = tmp_path / f"v.{ending}"
    for turn in range(200):
        bad = bytearray(raw[: rng.integers(len(raw)) if turn % 2 else len(raw)])
        for place in rng.integers(min(len(bad), 128), size=3 if len(bad) else 0):
            bad[place] ^= 1 << rng.integers(8)
        path.write_bytes(bad)
        with suppress(ValueError):
            read_vector_file(path)


def test_kittens_find_their_names_among_all_of_lvis(shared_data: Path, tmp_path: Path) -> None:
    """Real vectors of both kinds: the photographs' first two names of 1203 hold cat or kitten."""
    names = shared_data / "vocabularies"
    texts = names / "clip_vitb32_text" / "lvis_v1_clip_a+cname.npy"
    photos = shared_data / "clip_vitb32_images" / "image_embeddings_vitb32.npz"
    if not (texts.is_file() and photos.is_file()):
        pytest.skip("no real CLIP vectors")
    config = PrototypesConfig(coarse=8, restarts=1, eps=1e-5, min_samples=1)
    listed = names / "lvis_v1_train_cat_info.json"
    made = make_pool([texts], [listed], tmp_path / "pool", config)
    assert made.health.fine == 1203
    found = read_vector_file(photos)
    assert found.names is not None
    kittens = [found.names.index("123_456"), found.names.index("456_123")]
    rows = unit(found.rows[kittens].astype(np.float32))
    assert name_ranks(rows, ["cat", "kitten"], made, "fine").tolist() == [2, 1]
