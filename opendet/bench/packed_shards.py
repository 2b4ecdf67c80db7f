"""Shards for the benches, published as the stage does.

The pictures are few and come again, but each sample's record is its own and of a real one's size.
"""

import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from opendet.curate.shards import write_part
from opendet.manifest import FileStamp, Manifest, PartCommit, ShardName, write_manifest
from opendet.record import Phrase, Provenance, Record, Region
from opendet.sample import Sample

PICTURES = 32
"""Different ones."""


def publish(folder: Path, shards: int, each: int, size_wh: tuple[int, int]) -> Path:
    """Publish so many shards; the first one's path comes back."""
    pictures = [picture(seed, size_wh) for seed in range(PICTURES)]
    return publish_pictures(folder, shards, each, pictures, size_wh)


def publish_pictures(
    folder: Path, shards: int, each: int, pictures: Sequence[bytes], size_wh: tuple[int, int]
) -> Path:
    """The same of these pictures, all of one size."""
    folder.mkdir(parents=True)
    parts = []
    for number in range(shards):
        name = f"bench-{number:06d}"
        places = range(number * each, (number + 1) * each)
        write_part(folder, name, samples(places, pictures, size_wh))
        files = {file: FileStamp.of(folder / file) for file in (f"{name}.idx", f"{name}.tar")}
        shard = ShardName(name, "bench", "train")
        parts.append(PartCommit(shard, each, each, (), (), {}, files))
    write_manifest(folder, Manifest("shards", "bench", tuple(parts)))
    return folder / "bench-000000.tar"


def samples(
    numbers: Sequence[int], pictures: Sequence[bytes], size_wh: tuple[int, int]
) -> list[Sample]:
    return [_sample(number, pictures[number % len(pictures)], size_wh) for number in numbers]


def picture(seed: int, size_wh: tuple[int, int]) -> bytes:
    """A JPEG whose texture makes some 95 KB of 640 x 480 pixels, as a photograph of COCO has."""
    width, height = size_wh
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).filter(ImageFilter.GaussianBlur(0.8)).save(file, "JPEG", quality=75)
    return file.getvalue()


def _sample(number: int, content: bytes, size_wh: tuple[int, int]) -> Sample:
    """With seven regions and eleven phrases, some 8 KB of record."""
    nouns = [f"thing {number * 7 % 997 + place}" for place in range(7)]
    regions = tuple(_region(number, place, noun, size_wh) for place, noun in enumerate(nouns))
    caption = f"There are {', '.join(nouns)}, side by side on a long table before a bright window."
    words = [match.span() for match in re.finditer(r"thing \d+|table|window|side|There", caption)]
    grounded = Provenance("bench-grounder", "1", "ground the caption")
    return Sample(
        Record(
            key=f"bench-{number:08d}",
            source="bench",
            batch="bench",
            split="train",
            licence="CC0-1.0",
            file=f"{number}.jpg",
            format="jpg",
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            width=size_wh[0],
            height=size_wh[1],
            caption=caption,
            caption_from=Provenance("bench-captioner", "1", "describe the picture"),
            phrases=tuple(
                Phrase(start, end, (place,) if place < len(regions) else (), grounded)
                for place, (start, end) in enumerate(words)
            ),
            regions=regions,
        ),
        content=content,
    )


def _region(number: int, place: int, noun: str, size_wh: tuple[int, int]) -> Region:
    width, height = size_wh
    left, top = (number * 13 + place * 29) % (width // 2), (number * 7 + place * 17) % (height // 2)
    score = (number * 31 + place * 57) % 100 / 100
    return Region(
        (float(left), float(top), left + width / 3, top + height / 4),
        Provenance("bench-finder", "1", "find everything", score),
        names=(noun, f"{noun} of many"),
        names_from=Provenance("bench-namer", "1"),
        description=f"{noun} beside its neighbour, seen from the front in plain daylight",
        description_from=Provenance("bench-describer", "1", "one sentence"),
        agreement=score - 0.5,
        rival=f"thing {place}",
        rival_agreement=0.1,
        agreement_from=Provenance("bench-clip", "1"),
        refusal="disagrees" if score < 0.1 else "",
    )
