"""How long people wait for the inspector: a first sample, a summary, pages.

Each is a process of its own, as a user starts it; the start of a bare interpreter is taken off. The
pictures are few and come again, but each sample's record is its own and of a real one's size.
"""

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image, ImageFilter

from opendet.bench.harness import Place, Row, at_least, at_most, code_of
from opendet.curate.shards import write_part
from opendet.manifest import FileStamp, Manifest, PartCommit, ShardName, write_manifest
from opendet.record import Phrase, Provenance, Record, Region
from opendet.sample import Sample

LARGE_SAMPLES = 10_000
"""In one shard; of pictures of some 110 KB they make a gigabyte."""
SHARDS, A_SHARD = 100, 1000
LARGE_WH, SMALL_WH = (640, 480), (160, 120)
"""Pixels of the pictures in the one shard, and in the many."""
PICTURES = 32
"""Different ones."""
ROUNDS = 3
"""Of the first sample, and of the bare interpreter."""
FIRST_S, SUMMARY_S, PAGES_RATE = 1.0, 20.0, 200.0
_GIGA = 1e9


def measure(place: Place) -> Iterator[Row]:
    """The first sample of a shard of 1 GB, a summary and pages of 100,000 samples."""
    code = code_of("opendet.bench.inspector", "opendet.inspect.inspect_command")
    settings = {"large": LARGE_SAMPLES, "samples": SHARDS * A_SHARD, "rounds": ROUNDS}
    work = partial(waits, place.folder / "made", large=LARGE_SAMPLES, shards=(SHARDS, A_SHARD))
    told: dict[str, float] | None = place.unit(settings, code, work, what="the inspector")
    if told is not None:
        yield from rows_of(told)


def rows_of(told: Mapping[str, float]) -> Iterator[Row]:
    shard = f"{told['large_gb']:.2f} GB"
    bare = f"its last one; not counted: the interpreter's {told['interpreter_s']:.2f} s"
    cores = f"{told['cores']:.0f} cores"
    many = f"{told['samples']:.0f} samples"
    yield at_most(f"a sample of a shard of {shard}, s", told["indexed_s"], FIRST_S, bare)
    yield at_most("the same without its .idx, s", told["walked_s"], FIRST_S, bare)
    yield at_most(
        f"summary of {many}, s", told["summary_s"], SUMMARY_S, f"{told['many_gb']:.2f} GB, {cores}"
    )
    yield at_least(
        f"pages of {many}, samples/s", told["pages_rate"], PAGES_RATE, f"{cores}, small pictures"
    )


def waits(folder: Path, *, large: int, shards: tuple[int, int]) -> dict[str, float]:
    """Seconds, and samples a second, on what is made in the folder and taken away afterwards.

    `large` samples in one shard; `shards` of so many samples each.
    """
    shutil.rmtree(folder, ignore_errors=True)
    try:
        one = _write(folder / "one", 1, large, LARGE_WH)
        told = _first_sample(one, f"bench-{large - 1:08d}")
        many = _write(folder / "many", *shards, SMALL_WH)
        told["large_gb"] = one.stat().st_size / _GIGA
        told["samples"] = float(shards[0] * shards[1])
        told["many_gb"] = sum(path.stat().st_size for path in many.parent.glob("*.tar")) / _GIGA
        told["cores"] = float(len(os.sched_getaffinity(0)))
        told["summary_s"] = _seconds("inspect", str(many.parent)) - told["interpreter_s"]
        pages = _seconds("inspect", str(many.parent), "--html", str(folder / "pages"))
        told["pages_rate"] = told["samples"] / pages
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return told


def _first_sample(shard: Path, key: str) -> dict[str, float]:
    """Of a shard with its index, then without."""
    bare = median(_run(sys.executable, "-c", "pass") for _ in range(ROUNDS))
    ask = ("inspect", str(shard), key, "--no-picture")
    indexed = median(_seconds(*ask) for _ in range(ROUNDS))
    shard.with_suffix(".idx").unlink()
    walked = median(_seconds(*ask) for _ in range(ROUNDS))
    return {"interpreter_s": bare, "indexed_s": indexed - bare, "walked_s": walked - bare}


def _seconds(*arguments: str) -> float:
    """Of `opendet` with these arguments."""
    return _run(sys.executable, "-c", "from opendet.cli import main; main()", *arguments)


def _run(*command: str) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


# --- what is looked at


def _write(folder: Path, shards: int, each: int, size_wh: tuple[int, int]) -> Path:
    """Publish shards as the stage does; the first one's path comes back."""
    folder.mkdir(parents=True)
    pictures = [_picture(seed, size_wh) for seed in range(PICTURES)]
    parts = []
    for number in range(shards):
        name = f"bench-{number:06d}"
        places = range(number * each, (number + 1) * each)
        write_part(folder, name, [_sample(n, pictures[n % PICTURES], size_wh) for n in places])
        files = {file: FileStamp.of(folder / file) for file in (f"{name}.idx", f"{name}.tar")}
        shard = ShardName(name, "bench", "train")
        parts.append(PartCommit(shard, each, each, (), (), {}, files))
    write_manifest(folder, Manifest("shards", "bench", tuple(parts)))
    return folder / "bench-000000.tar"


def _picture(seed: int, size_wh: tuple[int, int]) -> bytes:
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
