"""Shards of small pictures, published as the stage `shards` publishes them."""

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from opendet.curate.shards import write_index, write_part
from opendet.manifest import (
    FileStamp,
    Manifest,
    PartCommit,
    ShardName,
    commit_text,
    read_manifest,
    write_manifest,
)
from opendet.record import Provenance, Record, Region
from opendet.sample import Sample

SAID = Provenance("toy")
WIDTH, HEIGHT = 48, 40


def write_toy_shards(folder: Path, *, shards: int, each: int) -> list[str]:
    """Write them with their manifest; the names of the tar files."""
    folder.mkdir(parents=True)
    commits = [_part(folder, number, each) for number in range(shards)]
    manifest = Manifest("shards", "toy", tuple(commits))
    write_index(folder, "toy", manifest)
    write_manifest(folder, manifest)
    return [f"{commit.shard.name}.tar" for commit in commits]


def vouch(folder: Path) -> None:
    """As if whoever made the manifest had meant it: hashes are right, and content may not be."""
    manifest = read_manifest(folder)
    parts = tuple(
        replace(part, files={name: FileStamp.of(folder / name) for name in part.files})
        for part in manifest.parts
    )
    write_manifest(folder, replace(manifest, parts=parts))


def toy_sample(number: int) -> Sample:
    """A noisy picture with one thing in it."""
    noise = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    content = file.getvalue()
    record = Record(
        key=f"a-{number:06d}",
        source="toy",
        batch="a",
        split="train",
        licence="CC0-1.0",
        file=f"{number}.png",
        format="png",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        width=WIDTH,
        height=HEIGHT,
        caption="a thing",
        caption_from=SAID,
        regions=(Region((4, 4, 30, 24), SAID, label="thing", names=("thing",)),),
    )
    return Sample(record, content=content)


def _part(folder: Path, number: int, each: int) -> PartCommit:
    name = f"a-{number:06d}"
    write_part(folder, name, [toy_sample(number * each + place) for place in range(each)])
    files = {file: FileStamp.of(folder / file) for file in (f"{name}.idx", f"{name}.tar")}
    commit = PartCommit(ShardName(name, "a", "train"), each, each, (), (), {}, files)
    (folder / f"{name}.json").write_text(commit_text(commit))
    return commit
