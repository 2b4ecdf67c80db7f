"""Images at an address: listed, read with patience, kept on the disk within a bound."""

import hashlib
import os
import pickle
import time
from pathlib import Path
from typing import Any

import pytest

from opendet.object_store import images as images_module
from opendet.object_store.errors import StoreDeniedError, StoreError
from opendet.object_store.image_cache import GIGABYTES, ImageCache
from opendet.object_store.images import OverlongError, StoredImages
from opendet.object_store.store import Store, open_store
from tests.object_store.s3_server import BUCKET

PICTURE = b"\xff\xd8 a picture " * 100
SHA256 = hashlib.sha256(PICTURE).hexdigest()


@pytest.fixture
def images(tmp_path: Path) -> StoredImages:
    store = open_store((tmp_path / "store").as_uri())
    for name in ("a.jpg", "deep/b c.png", ".hidden.jpg", ".git/c.jpg"):
        store.write(PICTURE, name)
    return StoredImages(store.address, ImageCache(tmp_path / "cache", 10**6))


def asked(patch: pytest.MonkeyPatch, *failures: Exception) -> list[str]:
    """The names that the store is asked for from now on; the first requests fail."""
    names: list[str] = []
    sound, waiting = Store.read_beginning, list(failures)

    def noted(self: Store, name: str, most: int) -> bytes:
        names.append(name)
        if waiting:
            raise waiting.pop(0)
        return sound(self, name, most)

    patch.setattr(Store, "read_beginning", noted)
    return names


def test_names_below_the_address_without_hidden_ones(images: StoredImages) -> None:
    assert sorted(images.names()) == ["a.jpg", "deep/b c.png"]


def test_an_address_where_nothing_lies_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing lies there: mend the address"):
        StoredImages((tmp_path / "nowhere").as_uri()).require_there()


def test_an_image_comes_once_and_then_from_the_disk(
    images: StoredImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = asked(monkeypatch)
    most = len(PICTURE)
    assert images.read("a.jpg", most_bytes=most) == PICTURE  # as the stage source does
    copy = pickle.loads(pickle.dumps(images))
    assert copy.read("a.jpg", most_bytes=most, sha256=SHA256) == PICTURE
    assert names == ["a.jpg"]
    images.cache.folder.joinpath(SHA256[:2], SHA256).write_bytes(b"damaged")  # type: ignore[union-attr]
    assert images.read("a.jpg", most_bytes=most, sha256=SHA256) == PICTURE
    assert names == ["a.jpg", "a.jpg"]


def test_what_is_missing_or_too_long_is_told_apart(images: StoredImages) -> None:
    with pytest.raises(FileNotFoundError):
        images.read("b.jpg", most_bytes=10**6)
    with pytest.raises(OverlongError, match="has more than"):
        images.read("a.jpg", most_bytes=len(PICTURE) - 1)
    assert images.cache is not None
    assert images.cache.read(SHA256) is None


def test_a_store_that_falters_is_asked_again(
    images: StoredImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    lost = StoreError("slow down")
    names = asked(monkeypatch, lost, lost, lost)
    assert images.read("a.jpg", most_bytes=10**6) == PICTURE
    assert (len(names), pauses) == (4, list(images_module.PAUSES_S))
    asked(monkeypatch, *[lost] * 4)
    with pytest.raises(StoreError, match="slow down"):
        images.read("a.jpg", most_bytes=10**6)


def test_a_store_that_refuses_is_not_asked_again(
    images: StoredImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = asked(monkeypatch, StoreDeniedError("access is denied"))
    with pytest.raises(StoreDeniedError):
        images.read("a.jpg", most_bytes=10**6)
    assert len(names) == 1


def test_the_cache_keeps_within_its_bound_what_was_used_last(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path, 10_000)
    contents = [bytes([number]) * 1000 for number in range(30)]
    hashes = [hashlib.sha256(content).hexdigest() for content in contents]
    for number, content in enumerate(contents):
        cache.write(content)
        os.utime(tmp_path / hashes[number][:2] / hashes[number], (number, number))
        assert cache.read(hashes[0]) == contents[0]  # used all the time
    kept = [number for number, name in enumerate(hashes) if cache.read(name)]
    assert kept[0] == 0
    assert kept[1:] == list(range(30 - len(kept) + 1, 30))
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 10_000


def test_a_disk_that_is_full_costs_the_cache_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    cache = ImageCache(tmp_path, 10_000)
    cache.write(PICTURE)
    assert cache.read(SHA256) is None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_hash_that_is_a_path_is_neither_read_nor_removed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(PICTURE)
    assert ImageCache(tmp_path / "cache", 10_000).read(str(victim)) is None
    assert victim.read_bytes() == PICTURE


def test_the_environment_bounds_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GIGABYTES, "0.5")
    assert ImageCache.of_project(tmp_path) == ImageCache(tmp_path / ".opendet/images", 500_000_000)
    monkeypatch.setenv(GIGABYTES, "0")
    assert ImageCache.of_project(tmp_path) is None
    for none in ("much", "inf", "nan"):
        monkeypatch.setenv(GIGABYTES, none)
        with pytest.raises(ValueError, match=f"OPENDET_IMAGE_CACHE_GB is '{none}': write a number"):
            ImageCache.of_project(tmp_path)


def test_on_s3_empty_and_missing_images_and_folders_of_a_console(server: str) -> None:
    store = open_store(f"s3://{BUCKET}/pictures")
    store.write(PICTURE, "a.jpg")
    store.write(b"", "empty.jpg")
    store.file_system.pipe_file(store.place("deep/"), b"")
    images = StoredImages(store.address)
    assert sorted(images.names()) == ["a.jpg", "empty.jpg"]
    images.require_there()
    assert images.read("a.jpg", most_bytes=10**6) == PICTURE
    assert images.read("empty.jpg", most_bytes=10**6) == b""
    with pytest.raises(FileNotFoundError):
        images.read("b.jpg", most_bytes=10**6)
    with pytest.raises(StoreDeniedError, match="there is no such bucket"):
        StoredImages("s3://no-such-bucket/x").require_there()
    with pytest.raises(StoreDeniedError, match="there is no such bucket"):
        StoredImages("s3://no-such-bucket/x").read("a.jpg", most_bytes=9)
