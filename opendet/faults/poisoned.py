"""Samples that raise, and samples that kill the process that looks at them."""

import math
import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from opendet.faults.rows import Effort, Shown, Tally
from opendet.faults.toy_build import SHARD_SAMPLES, read_shard, tasks, write_shard
from opendet.flow import run
from opendet.manifest import Manifest
from opendet.ray_session import ray_session
from opendet.record import Record
from opendet.sample import Sample
from opendet.stage import Stage
from opendet.work import WorkFolder

SHARDS = 2


@dataclass(frozen=True, slots=True)
class Poisoned:
    """Raises at one sample, or dies of it."""

    key: str
    dies: bool
    loads_to: Path
    """Gets a line for each process that loads it."""

    def __call__(self, samples: Sequence[Sample]) -> list[Record]:
        if any(sample.key == self.key for sample in samples):
            if self.dies:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError(f"cannot read {self.key}")
        return [replace(sample.record, caption=sample.key) for sample in samples]


def raising_samples(effort: Effort) -> Shown:
    """Let each sample of a shard raise in turn."""
    tally, unaccounted = Tally(), 0
    for number in effort.tries(SHARDS * SHARD_SAMPLES):
        folder = effort.folder / str(number)
        key = f"k{number:04d}"
        manifest = _run(folder, Poisoned(key, dies=False, loads_to=folder / "loads"), actors=0)
        gone, missing = _account(manifest)
        unaccounted += missing
        good = gone == {key: f"ValueError: cannot read {key}"} and not missing
        tally.add("" if good else f"{key}: quarantined {gone}")
        shutil.rmtree(folder)
    return tally.shown(f"{unaccounted} samples unaccounted for")


def deadly_samples(effort: Effort) -> Shown:
    """Let a sample kill the worker that looks at it."""
    tally, most = Tally(), 0
    allowed = round(math.log2(SHARD_SAMPLES)) + 2
    with ray_session(cpus=2):
        for number in effort.tries(8):
            folder = effort.folder / str(number)
            key = f"k{number * 4 + 1:04d}"
            poison = Poisoned(key, dies=True, loads_to=folder / "loads")
            manifest = _run(folder, poison, actors=1)
            gone, missing = _account(manifest)
            restarts = len(poison.loads_to.read_text().splitlines()) - 1
            most = max(most, restarts)
            good = [*gone] == [key] and not missing and restarts <= allowed
            tally.add("" if good else f"{key}: quarantined {gone}, {restarts} restarts")
            shutil.rmtree(folder)
    return tally.shown(f"at most {most} restarts, {allowed} allowed; 1 sample lost each time")


def _run(folder: Path, worker: Poisoned, *, actors: int) -> Manifest:
    folder.mkdir()
    stage: Stage[Sample, Record] = Stage(
        name="caption",
        fingerprint="toy",
        read=read_shard,
        load=partial(_load, worker),
        write=write_shard,
        batch_size=4,
    )
    return run(stage, tasks(SHARDS), WorkFolder(folder / "work"), actors=actors).manifest


def _load(worker: Poisoned) -> Poisoned:
    with worker.loads_to.open("a") as loads:
        loads.write("loaded\n")
    return worker


def _account(manifest: Manifest) -> tuple[dict[str, str], int]:
    """Who was quarantined and why, and how many samples nobody speaks of."""
    gone = {entry.key: entry.error for part in manifest.parts for entry in part.quarantined}
    out = sum(part.samples_out for part in manifest.parts)
    return gone, len(manifest.parts) * SHARD_SAMPLES - out - len(gone)
