"""Samples that raise, and samples that kill the process that looks at them."""

import math
import os
import shutil
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from opendet.faults.poisoned_source import records_of
from opendet.faults.rows import Effort, Shown, Tally
from opendet.faults.toy_build import SHARD_SAMPLES, read_shard, tasks, write_shard
from opendet.flow import run
from opendet.ray_session import ray_session
from opendet.record import Record
from opendet.sample import Sample
from opendet.stage import Stage
from opendet.work import WorkFolder

SHARDS = 2
SAMPLES = SHARDS * SHARD_SAMPLES


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
    for number in effort.tries(SAMPLES):
        folder = effort.folder / str(number)
        key = f"k{number:04d}"
        ended = _run(folder, Poisoned(key, dies=False, loads_to=folder / "loads"), actors=0)
        unaccounted += ended.unaccounted
        good = ended.gone == {key: f"ValueError: cannot read {key}"} and not ended.unaccounted
        tally.add("" if good else f"{key}: {ended.told}")
        shutil.rmtree(folder)
    return tally.shown(f"{unaccounted} samples unaccounted for")


def deadly_samples(effort: Effort) -> Shown:
    """Let a sample kill the worker that looks at it."""
    tally, most, lost = Tally(), 0, 0
    allowed = round(math.log2(SHARD_SAMPLES)) + 2
    with ray_session(cpus=2):
        for number in effort.tries(8):
            folder = effort.folder / str(number)
            key = f"k{number * 4 + 1:04d}"
            poison = Poisoned(key, dies=True, loads_to=folder / "loads")
            ended = _run(folder, poison, actors=1)
            restarts = len(poison.loads_to.read_text().splitlines()) - 1
            most, lost = max(most, restarts), max(lost, ended.lost)
            good = [*ended.gone] == [key] and not ended.unaccounted and restarts <= allowed
            tally.add("" if good else f"{key}: {ended.told}, {restarts} restarts")
            shutil.rmtree(folder)
    return tally.shown(
        f"at most {most} restarts, {allowed} allowed; at most {lost} of {SAMPLES} samples lost"
    )


@dataclass(frozen=True, slots=True)
class _Ended:
    """What became of the samples of a run."""

    gone: dict[str, str]
    """Key -> why it was quarantined."""
    lost: int
    """How many samples no part has."""
    unaccounted: int
    """How many nobody speaks of, or are there twice: in the parts, or there and quarantined."""

    @property
    def told(self) -> str:
        return f"quarantined {self.gone}, {self.unaccounted} samples unaccounted for"


def _run(folder: Path, worker: Poisoned, *, actors: int) -> _Ended:
    folder.mkdir()
    work = WorkFolder(folder / "work")
    stage: Stage[Sample, Record] = Stage(
        name="caption",
        fingerprint="toy",
        read=read_shard,
        load=partial(_load, worker),
        write=write_shard,
        batch_size=4,
    )
    manifest = run(stage, tasks(SHARDS), work, actors=actors).manifest
    gone = {entry.key: entry.error for part in manifest.parts for entry in part.quarantined}
    # The sums of a commit record are right by themselves: what counts is what lies in the parts.
    there = Counter(record.key for record in records_of(manifest, work))
    wanted = Counter(sample.key for task in tasks(SHARDS) for sample in read_shard(task))
    spoken_of = there + Counter([*gone])
    unaccounted = (wanted - spoken_of) + (spoken_of - wanted)
    return _Ended(gone, (wanted - there).total(), unaccounted.total())


def _load(worker: Poisoned) -> Poisoned:
    with worker.loads_to.open("a") as loads:
        loads.write("loaded\n")
    return worker
