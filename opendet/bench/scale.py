"""A million stub samples in ten thousand shards: time, memory, and what a kill costs.

The build is killed at half of its first stage and goes on; what it lost is the time until it makes
its next new part. docs/scale.md reckons with these numbers.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from opendet.answers.segments import Segments
from opendet.bench.harness import Place, Row, at_most, code_of
from opendet.bench.process_tree import kill_tree
from opendet.bench.scale_build import LEFT_OUT, Size, Told
from opendet.curate.duplicates import DuplicateJudge
from opendet.curate.source import SourceConfig
from opendet.faults.toy_shards import toy_sample
from opendet.manifest import manifest_files, read_manifest
from opendet.record import Record
from opendet.shard_set import ShardSet

DRIVER_GIGABYTES, RESUME_SHARE = 2.0, 0.1
READS = 2000
"""Samples that are read at random."""
ANSWERS = 1_000_000
IMAGES = 1_000_000
"""Whose hashes are judged one after the other."""
POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Run:
    """One start of the program, seen from outside."""

    until_first: float
    """Seconds until its first new commit record."""
    seconds: float
    """Until it ended, or was killed."""
    commits: int
    """That were there then."""


def measure(
    place: Place, size: Size | None = None, answers: int = ANSWERS, images: int = IMAGES
) -> Iterator[Row]:
    """The counts, the driver's memory, the cost of a resume; then the answers, the duplicates."""
    size = size or Size()
    code = code_of("opendet.bench.scale")
    result: dict[str, Any] | None = place.unit(
        asdict(size), code, partial(simulate, place.folder, size), what=f"{size.samples:,} samples"
    )
    if result is not None:
        yield from _rows(result, size)
    stored: dict[str, float] | None = place.unit(
        {"answers": answers}, code, partial(_apart, _answers, place.folder, answers), what="answers"
    )
    if stored is not None:
        yield Row(
            f"answer store: microseconds to add one, of {answers:,}",
            stored["add_seconds"] / answers * 1e6,
            detail=f"to find one {stored['find_seconds'] / READS * 1e6:.0f}",
        )
        yield Row("answer store: bytes an answer on disk", stored["disk_bytes"] / answers)
        yield Row(
            "answer store: bytes an answer in memory, not packed",
            stored["memory_bytes"] / answers,
        )

    judged: dict[str, float] | None = place.unit(
        {"duplicates": images}, code, partial(_apart, _duplicates, images), what="duplicates"
    )
    if judged is not None:
        yield Row(
            f"duplicates: bytes of the driver's memory an image, of {images:,}",
            judged["memory_bytes"] / images,
        )
        yield Row(
            "duplicates: microseconds an image",
            judged["seconds"] / images * 1e6,
            detail=f"of the last tenth {judged['last_seconds'] / images * 1e7:.0f}; "
            f"{judged['near']:.0f} look like an earlier one",
        )


def _rows(result: dict[str, Any], size: Size) -> Iterator[Row]:
    caption, packed = Told(**result["caption"]), Told(**result["shards"])
    first, second, idle = (Run(**result[name]) for name in ("killed", "resumed", "idle"))
    counts = caption.counts
    left_out = sum(counts["dropped"].values()) + counts["quarantined"]
    yield at_most(
        "samples not accounted for",
        abs(size.samples - counts["images_out"] - left_out)
        + abs(packed.counts["images_out"] - result["reader"]["samples"]),
        0,
        f"{counts['images_out']:,} out, {left_out:,} left out, {size.shards:,} shards; of packed "
        f"ones the reader finds {result['reader']['samples']:,.0f}",
    )
    peak = max(caption.peak_gigabytes, packed.peak_gigabytes)
    yield at_most("driver's peak memory, GB", peak, DRIVER_GIGABYTES)
    whole = first.seconds + second.seconds
    yield at_most(
        "resume after a kill, share of the run",
        second.until_first / whole,
        RESUME_SHARE,
        f"{second.until_first:.1f} s to the next new part, {first.until_first:.1f} on a fresh "
        f"start; killed at {first.commits:,} shards",
    )
    yield at_most(
        "a run with nothing to do, share of the run",
        idle.seconds / whole,
        RESUME_SHARE,
        f"{idle.seconds:.1f} s",
    )
    each = f"{size.shards:,} shards of {size.each}, {size.actors} actors"
    yield Row("records: ms a shard", whole / size.shards * 1e3, detail=f"{whole:.0f} s; {each}")
    yield Row(
        "shards: ms a shard",
        packed.run_seconds / size.shards * 1e3,
        detail=f"{packed.run_seconds:.0f} s; a shard of {result['shard_bytes'] / 1e3:.0f} KB",
    )
    yield Row(
        "publishing: ms a shard",
        caption.publish_seconds / size.shards * 1e3,
        detail=f"of records; of shards {packed.publish_seconds / size.shards * 1e3:.2f}, with the "
        "md5 of each",
    )
    yield Row(
        "manifest: bytes a shard",
        result["manifest_bytes"] / size.shards,
        detail=f"{result['manifest_files']} files, the largest {result['largest_bytes'] / 1e3:.0f} "
        f"KB; {size.each // LEFT_OUT} dropped a shard",
    )
    yield Row("manifest: ms a shard to read", result["manifest_seconds"] / size.shards * 1e3)
    reader = result["reader"]
    yield Row(
        "reader: ms a shard to open and verify",
        reader["open_seconds"] / size.shards * 1e3,
        detail=f"{reader['open_seconds']:.1f} s for {reader['gigabytes']:.2f} GB; "
        f"{reader['memory_bytes'] / reader['samples']:.0f} bytes of memory a sample",
    )
    yield Row("reader: microseconds a random sample", reader["read_seconds"] / READS * 1e6)


def simulate(folder: Path, size: Size) -> dict[str, Any]:
    """Build, kill, go on, pack and read; what it took."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        place = Path(temporary)
        half = size.shards // 2
        runs = {
            "killed": _run(place, size, "caption", kill_at=half),
            "resumed": _run(place, size, "caption"),
        }
        # Of the run that made parts: the next one has nothing to hold in its memory.
        told = json.loads((place / "caption.told.json").read_text())
        runs["idle"] = _run(place, size, "caption")
        _run(place, size, "shards")
        shards = place / "shards"
        files = [shards / name for name in manifest_files(size.shards)]
        start = time.perf_counter()
        parts = read_manifest(shards).parts
        return {
            **{name: asdict(run) for name, run in runs.items()},
            "caption": told,
            "shards": json.loads((place / "shards.told.json").read_text()),
            "shard_bytes": parts[0].files[f"{parts[0].shard.name}.tar"].bytes,
            "manifest_seconds": time.perf_counter() - start,
            "manifest_bytes": sum(path.stat().st_size for path in files),
            "largest_bytes": max(path.stat().st_size for path in files),
            "manifest_files": len(files),
            "reader": _apart(_reader, shards),
        }


def _run(folder: Path, size: Size, stage: str, *, kill_at: int | None = None) -> Run:
    """Start the program, watch its commit records, and kill it at so many."""
    command = [sys.executable, "-m", "opendet.bench.scale_build", str(folder), f"--stage={stage}"]
    command += [f"--{name}={value}" for name, value in asdict(size).items()]
    commits = folder / "work" / stage / "commits"
    before, start = _entries(commits), time.monotonic()
    process = subprocess.Popen(command, start_new_session=True)
    first = 0.0
    while process.poll() is None:
        time.sleep(POLL_SECONDS)
        there = _entries(commits)
        if not first and there > before:
            first = time.monotonic() - start
        if kill_at is not None and there >= kill_at:
            kill_tree(process.pid)
            process.wait()
            break
    seconds = time.monotonic() - start
    killed = kill_at is not None and process.returncode == -signal.SIGKILL
    if not killed and process.returncode != 0:
        raise RuntimeError(f"the stage {stage} ended with {process.returncode}")
    return Run(first, seconds, _entries(commits))


def _entries(folder: Path) -> int:
    if not folder.is_dir():
        return 0
    with os.scandir(folder) as entries:
        return sum(entry.name[0] != "." for entry in entries)


def _reader(folder: Path) -> dict[str, float]:
    """What the trainer's reader takes to open all shards, and then a sample at random."""
    before, start = _resident_bytes(), time.perf_counter()
    shards = ShardSet.open(folder)
    opened = time.perf_counter()
    memory = _resident_bytes() - before
    for index in np.random.default_rng(0).integers(len(shards), size=READS).tolist():
        shards.sample(index)
    return {
        "samples": len(shards),
        "open_seconds": opened - start,
        "read_seconds": time.perf_counter() - opened,
        "memory_bytes": memory,
        "gigabytes": sum(path.stat().st_size for path in folder.glob("*.tar")) / 1e9,
    }


def _answers(folder: Path, count: int) -> dict[str, float]:
    """What the answer store takes for short answers: to add, to find again, on disk, in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        place, batch = Path(temporary), 16
        keys = [f"{number:064x}" for number in range(count)]
        writer, start = Segments(place), time.perf_counter()
        for first in range(0, count, batch):
            writer.add({key: f"a short answer to {key}" for key in keys[first : first + batch]})
        added = time.perf_counter() - start
        before, reader = _resident_bytes(), Segments(place)
        len(reader)  # reads all keys
        memory, start = _resident_bytes() - before, time.perf_counter()
        for number in np.random.default_rng(0).integers(count, size=READS).tolist():
            reader.find([keys[number]])
        return {
            "add_seconds": added,
            "find_seconds": time.perf_counter() - start,
            "disk_bytes": sum(path.stat().st_size for path in place.iterdir()),
            "memory_bytes": memory,
        }


def _duplicates(count: int) -> dict[str, float]:
    """What it takes to say of random hashes, one after the other, what came before."""
    rng, stub = np.random.default_rng(0), toy_sample(0).record
    hashes = rng.integers(2**63, size=count).tolist()
    before, judge = _resident_bytes(), DuplicateJudge(SourceConfig())
    near, start, last = 0, time.perf_counter(), 0.0
    for number, code in enumerate(hashes):
        if number == count - count // 10:
            last = time.perf_counter()
        record = replace(stub, key=f"a-{number:09d}", sha256=f"{number:064x}", phash=f"{code:016x}")
        outcome = judge(record)
        near += isinstance(outcome, Record) and bool(outcome.near_duplicate_of)
    ended = time.perf_counter()
    return {
        "seconds": ended - start,
        "last_seconds": ended - last,
        "memory_bytes": _resident_bytes() - before,
        "near": near,
    }


def _apart(work: Any, *arguments: Any) -> dict[str, float]:
    """In a process of its own, whose memory is its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        result: dict[str, float] = process.submit(work, *arguments).result()
        return result


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
