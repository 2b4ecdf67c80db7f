"""Drawn images on disk: read back by key, equal bytes, found through ImageFiles."""

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from opendet.record import Record
from opendet.sources.card import SourceCard
from opendet.sources.containers import ImageContainer, container_name, write_images
from opendet.sources.image_files import ImageFiles

ITEMS = [(f"train-{number:06d}", bytes([number]) * (number + 1)) for number in range(100)]


def record_of(key: str, content: bytes, file: str, batch: str = "train") -> Record:
    return Record(
        key=key,
        source="x",
        batch=batch,
        split="train",
        licence="MIT",
        file=file,
        format="jpg",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        width=1,
        height=1,
    )


def test_images_come_back_by_key_and_the_bytes_are_the_same(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_images(tmp_path / name, ITEMS)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    container = ImageContainer(tmp_path / "one")
    for key, content in reversed(ITEMS):
        assert container.read(key) == content
    with pytest.raises(KeyError):
        container.read("train-000100")
    write_images(tmp_path / "none", [])
    assert ImageContainer(tmp_path / "none")


@pytest.fixture
def card() -> SourceCard:
    return SourceCard.model_validate(
        {
            "name": "x",
            "licence": "MIT",
            "batches": [
                {"name": "train", "split": "train", "format": "scenes", "count": 100},
                {"name": "files", "split": "val", "format": "folder", "root": "photos"},
            ],
        }
    )


def test_image_files_read_scenes_and_files_and_notice_changes(
    tmp_path: Path, card: SourceCard
) -> None:
    build = tmp_path / "datasets" / "demo"
    (build / "source").mkdir(parents=True)
    name = container_name("train", 0)
    write_images(build / "source" / name, ITEMS)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"abc")
    files = pickle.loads(pickle.dumps(ImageFiles(card, build, tmp_path)))

    scenes = [record_of(key, content, name) for key, content in ITEMS]
    assert [files.read(record) for record in scenes] == [content for _, content in ITEMS]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(files.read, scenes * 5)) == [content for _, content in ITEMS] * 5
    photo = record_of("files-a", b"abc", "a.jpg", batch="files")
    assert pickle.loads(pickle.dumps(files)).read(photo) == b"abc"

    (tmp_path / "photos" / "a.jpg").write_bytes(b"abd")
    with pytest.raises(ValueError, match=r"files-a: .*changed since"):
        files.read(photo)
    (tmp_path / "photos" / "a.jpg").unlink()
    with pytest.raises(ValueError, match="files-a: its image is gone"):
        files.read(photo)
    with pytest.raises(ValueError, match="train-9: its image is gone"):
        files.read(replace(scenes[0], key="train-9"))
