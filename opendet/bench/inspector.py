"""How long people wait for the inspector: a first sample, a summary, pages.

Each is a process of its own, as a user starts it; the start of a bare interpreter is taken off. The
pictures are few and come again, but each sample's record is its own and of a real one's size.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import median

from opendet.bench.harness import Place, Row, at_least, at_most, code_of
from opendet.bench.packed_shards import publish

LARGE_SAMPLES = 10_000
"""In one shard; of pictures of some 110 KB they make a gigabyte."""
SHARDS, A_SHARD = 100, 1000
LARGE_WH, SMALL_WH = (640, 480), (160, 120)
"""Pixels of the pictures in the one shard, and in the many."""
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
        one = publish(folder / "one", 1, large, LARGE_WH)
        told = _first_sample(one, f"bench-{large - 1:08d}")
        many = publish(folder / "many", *shards, SMALL_WH)
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
