"""Small shards for tests: painted rectangles whose boxes are known, published as flow would."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from opendet.curate.shards import write_index, write_part
from opendet.manifest import (
    FileStamp,
    Manifest,
    PartCommit,
    ShardName,
    commit_text,
    write_manifest,
)
from opendet.record import Phrase, Provenance, Record, Region
from opendet.sample import Sample

SOURCE = Provenance("source")
FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}


def region(box_xyxy: tuple[float, float, float, float], name: str, refusal: str = "") -> Region:
    return Region(box_xyxy, SOURCE, label=f"true {name}", names=(name,), refusal=refusal)


def painted(
    key: str,
    *,
    size: tuple[int, int] = (64, 48),
    regions: Sequence[Region] = (),
    split: str = "train",
    image_format: str = "png",
    seed: int = 0,
) -> Sample:
    """A dim noisy picture, (width, height), with each region's box painted white."""
    noise = np.random.default_rng(seed).integers(0, 40, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    for each in regions:
        x0, y0, x1, y1 = each.box_xyxy
        ImageDraw.Draw(image).rectangle((x0, y0, x1 - 1, y1 - 1), fill="white")
    file = io.BytesIO()
    image.save(file, FORMATS[image_format])
    content = file.getvalue()
    record = Record(
        key=key,
        source="toy",
        batch=key.split("-")[0],
        split=split,
        licence="CC0-1.0",
        file=f"{key}.{image_format}",
        format=image_format,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        width=size[0],
        height=size[1],
        caption="a white thing, “übrig”",
        caption_from=Provenance("grammar", "1", "describe", 0.25),
        phrases=(Phrase(2, 13, tuple(range(len(regions))), SOURCE),),
        regions=tuple(regions),
    )
    return Sample(record, content=content)


def samples(count: int, *, batch: str = "a", split: str = "train") -> list[Sample]:
    """Pictures of three formats and different sizes; every fourth one without a region."""
    made = []
    for index in range(count):
        x, y = 3 + index % 7, 2 + index % 5
        regions = (region((x, y, x + 20, y + 14), "thing"), region((1, 1, 9, 9), "spot", "border"))
        made.append(
            painted(
                f"{batch}-{index:04d}",
                size=(48 + index % 3 * 8, 40 + index % 4 * 6),
                regions=regions if index % 4 else (),
                split=split,
                image_format=tuple(FORMATS)[index % 3],
                seed=index,
            )
        )
    return made


def publish(folder: Path, parts: Mapping[str, Sequence[Sample]]) -> Manifest:
    """Write shards as the stage and flow do: name -> samples, all of one split each."""
    folder.mkdir(parents=True)
    commits = []
    for name, members in parts.items():
        write_part(folder, name, members)
        split = members[0].record.split if members else "train"
        files = {n: FileStamp.of(folder / n) for n in (f"{name}.idx", f"{name}.tar")}
        shard = ShardName(name, name.rpartition("-")[0], split)
        commit = PartCommit(shard, len(members), len(members), (), (), {}, files)
        (folder / f"{name}.json").write_text(commit_text(commit))
        commits.append(commit)
    manifest = Manifest("shards", "toy", tuple(commits))
    write_index(folder, "toy", manifest)
    write_manifest(folder, manifest)
    return manifest


def small_build(folder: Path, *, shards: int = 3, each: int = 5) -> list[Sample]:
    """Publish some shards and return all samples in the manifest's order."""
    everything = samples(shards * each)
    publish(
        folder,
        {f"a-{n:06d}": everything[n * each : (n + 1) * each] for n in range(shards)},
    )
    return everything


def renamed(sample: Sample, key: str) -> Sample:
    return replace(sample, record=replace(sample.record, key=key))
