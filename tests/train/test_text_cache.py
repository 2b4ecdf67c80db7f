"""What a tower has said is kept, and said again to every process."""

import multiprocessing
import random
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from opendet.annotators.hash_text import HashTextEncoder
from opendet.train.text_cache import CachedTower, Vectors
from opendet.train.text_vectors import vectors_of


class Asked(HashTextEncoder):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(8)
        self.texts: list[str] = []

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        self.texts += texts
        return super().encode_texts(texts)


def test_a_text_is_asked_for_once_whoever_asks(tmp_path: Path) -> None:
    first, second = Asked(), Asked()
    rows = CachedTower(first, tmp_path).encode_texts(["red", "blue", "red"])
    assert first.texts == ["red", "blue"]
    again = CachedTower(second, tmp_path).encode_texts(["green", "red"])
    assert second.texts == ["green"]
    assert (rows[0] == rows[2]).all()
    assert (again[1] == rows[0]).all()
    np.testing.assert_array_equal(again[0], HashTextEncoder(8).encode_texts(["green"])[0])


def test_the_answer_on_disk_is_what_counts(tmp_path: Path) -> None:
    """Another machine's tower may round differently."""

    class Rounded(Asked):
        def encode_texts(self, texts: Sequence[str]) -> Vectors:
            return super().encode_texts(texts) + np.float32(1e-3)

    kept = CachedTower(Asked(), tmp_path).encode_texts(["red"])
    assert (CachedTower(Rounded(), tmp_path).encode_texts(["red"]) == kept).all()


def test_towers_do_not_share_a_file(tmp_path: Path) -> None:
    CachedTower(HashTextEncoder(8), tmp_path).encode_texts(["red"])
    other = CachedTower(HashTextEncoder(8, seed=1), tmp_path).encode_texts(["red"])
    np.testing.assert_array_equal(other, HashTextEncoder(8, seed=1).encode_texts(["red"]))


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    """Each writes fifteen texts of its own, one by one, while the others do."""
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(tmp_path, own)) for own in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    reader = Asked()
    texts = [f"text {own} {i}" for own in range(3) for i in range(15)]
    rows = CachedTower(reader, tmp_path).encode_texts(texts)
    assert reader.texts == []
    np.testing.assert_array_equal(rows, HashTextEncoder(8).encode_texts(texts))


def test_a_damaged_file_is_one_clear_line(tmp_path: Path) -> None:
    tower = CachedTower(HashTextEncoder(8), tmp_path)
    tower.encode_texts(["red"])
    [path] = tmp_path.glob("*.arrow")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"is damaged .*remove it"):
        tower.encode_texts(["red"])


def test_no_wrong_bit_is_more_than_one_clear_line(tmp_path: Path) -> None:
    """Bits of the numbers themselves go unseen: the file has no checksum."""
    tower = CachedTower(HashTextEncoder(8), tmp_path)
    texts = [f"a {number}" for number in range(20)]
    tower.encode_texts(texts)
    [path] = tmp_path.glob("*.arrow")
    whole = path.read_bytes()
    drawn = random.Random(0)
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[drawn.randrange(len(whole))] ^= 1 << drawn.randrange(8)
        path.write_bytes(damaged)
        try:
            assert tower.encode_texts(texts[1:2]).shape == (1, 8)
        except ValueError as error:
            assert re.search(r"is damaged .*remove it$", str(error))  # noqa: PT017
            refused += 1
    assert refused > 20


def test_no_texts_are_no_rows(tmp_path: Path) -> None:
    assert CachedTower(HashTextEncoder(8), tmp_path).encode_texts([]).shape == (0, 8)


def test_it_stands_behind_the_trainers_vectors(tmp_path: Path) -> None:
    tower = CachedTower(HashTextEncoder(8), tmp_path / "cache")
    vectors = vectors_of(["red"], tower, template="a {name}", kept_in=tmp_path / "kept")
    assert vectors is not None
    wanted = HashTextEncoder(8).encode_texts(["a red"])
    np.testing.assert_array_equal(vectors.of(["red"]).numpy(), wanted)


def _write_many(folder: Path, own: int) -> None:
    tower = CachedTower(HashTextEncoder(8), folder)
    for i in range(15):
        tower.encode_texts([f"text {own} {i}"])
