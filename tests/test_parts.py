"""How a stage reads the part before it: no other file than the manifest's, no other image."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import shard_world as world
from PIL import Image

from opendet.files import sha256_of
from opendet.manifest import ShardName
from opendet.parts import (
    read_record_part,
    read_samples,
    read_whole,
    with_content,
    with_pixels,
    write_record_part,
)
from opendet.sample import Sample
from opendet.sources.card import SourceCard
from opendet.sources.image_files import ImageFiles
from opendet.stage import Task

SAMPLES = world.samples(3)
RECORDS = [sample.record for sample in SAMPLES]


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """`a-000000.parquet` in the folder of a stage."""
    folder = tmp_path / "regions"
    folder.mkdir()
    write_record_part(folder, "a-000000", RECORDS)
    return folder / "a-000000.parquet"


def test_what_is_written_is_read(part: Path) -> None:
    assert read_record_part(part.parent, "a-000000") == RECORDS
    assert read_whole(part, sha256_of(part)) == RECORDS
    inputs = {"regions/a-000000.parquet": sha256_of(part), "other/a-000000.parquet": "0"}
    task = Task(ShardName("a-000000", "a", "train"), inputs)
    assert read_samples(part.parent, task) == [Sample(record) for record in RECORDS]


def test_another_file_than_the_manifest_s_is_not_read(part: Path) -> None:
    said = (
        f"{part} is damaged: its sha256 is not its manifest's: bring it back by `dvc checkout`, or "
        "remove the stage's folder in .opendet/<build> and build the stage"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        read_whole(part, "0" * 64)
    part.unlink()
    with pytest.raises(ValueError, match=re.escape(str(part))):
        read_whole(part, "0" * 64)


def test_images_are_those_that_the_source_saw(tmp_path: Path) -> None:
    batch = {"name": "a", "split": "train", "images": "images"}
    card = SourceCard.model_validate(
        {"name": "x", "licence": "MIT", "format": "folder", "root": ".", "batches": [batch]}
    )
    turned = tmp_path / "images" / "turned.jpg"
    turned.parent.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter
    Image.effect_noise((40, 24), 80).save(turned, exif=exif)
    content = turned.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    record = replace(RECORDS[0], file="images/turned.jpg", bytes=len(content), sha256=digest)
    images, sample = ImageFiles(card, tmp_path, tmp_path), Sample(record)

    read = with_content(images, sample)
    assert (read.record, read.pixels, read.content) == (record, None, content)
    read = with_pixels(images, sample)
    assert (read.record, read.content) == (record, b"")
    assert read.pixels is not None
    assert (read.pixels.size, read.pixels.mode) == ((24, 40), "RGB")

    turned.write_bytes(content[:-1] + b"!")
    ways: tuple[Callable[[ImageFiles, Sample], Sample], ...] = (with_content, with_pixels)
    for way in ways:
        with pytest.raises(ValueError, match=r"turned\.jpg changed since"):
            way(images, sample)
