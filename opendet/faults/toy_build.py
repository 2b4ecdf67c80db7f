"""`python -m opendet.faults.toy_build FOLDER`: a stage run and published, the way each stage is.

Its samples are records without images and its worker writes a few words; all else, from the lock
to the manifest, is what every stage goes through.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from opendet.console import exit_code_of, interrupt_on_sigterm
from opendet.files import exclusive_lock
from opendet.flow import run
from opendet.manifest import ShardName
from opendet.ray_session import ray_session
from opendet.record import Record
from opendet.sample import Dropped, Sample
from opendet.schema import read_records, write_records
from opendet.stage import Stage, Task
from opendet.work import WorkFolder

SHARDS, SHARD_SAMPLES, BATCH = 6, 16, 4
ONCE = SHARDS * (SHARD_SAMPLES + BATCH)
"""How many samples the worker of an undisturbed build sees: in each shard the batch of the one that
fails is asked again, one by one."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one run; but for `shards` and `says`, none may change a byte of what is published."""

    actors: int = 0
    seconds: float = 0.0
    """That the worker takes for a batch."""
    shards: int = SHARDS
    batch_size: int = BATCH
    says: str = ""
    """At the end of each caption: an input of each part."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Writes a caption, drops the third sample of each shard, fails on the fifth."""

    seconds: float
    says: str
    calls_to: Path
    """Gets a line for each sample that is seen, so that work done twice can be counted."""

    def __call__(self, samples: Sequence[Sample]) -> list[Record | Dropped]:
        with self.calls_to.open("a") as calls:
            calls.writelines(f"{sample.key}\n" for sample in samples)
        time.sleep(self.seconds)
        return [self._one(sample) for sample in samples]

    def _one(self, sample: Sample) -> Record | Dropped:
        place = int(sample.key[1:]) % SHARD_SAMPLES
        if place == 2:
            return Dropped(sample.key, "unwanted", "toy für nichts")
        if place == 4:
            raise ValueError(f"cannot read {sample.key}: nicht für uns")
        return replace(sample.record, caption=f"what {sample.key} shows: Grün{self.says}")


def build(folder: Path, settings: Settings) -> None:
    """Make what is missing of the stage and publish it as FOLDER/out."""
    work = WorkFolder(folder / "work")
    stage: Stage[Sample, Record] = Stage(
        name="caption",
        fingerprint="toy",
        read=read_shard,
        load=partial(Worker, settings.seconds, settings.says, folder / "calls"),
        write=write_shard,
        reread=_reread,
        tally=_tally,
        batch_size=settings.batch_size,
    )
    planned = tasks(settings.shards, settings.says)
    with exclusive_lock(folder / "lock", what="the toy build"):
        if settings.actors:
            with ray_session(cpus=settings.actors):
                ran = run(stage, planned, work, actors=settings.actors)
        else:
            ran = run(stage, planned, work, actors=0)
        work.publish(folder / "out", ran.manifest)


def tasks(shards: int, says: str = "") -> list[Task]:
    names = [ShardName(f"b-{number:06d}", "b", "train") for number in range(shards)]
    return [Task(name, {"input": f"{name.name}{says}"}) for name in names]


def command(folder: Path, settings: Settings) -> list[str]:
    """The command line of a build."""
    told = [f"--{name.replace('_', '-')}={value}" for name, value in asdict(settings).items()]
    return [sys.executable, "-m", "opendet.faults.toy_build", str(folder), *told]


def read_shard(task: Task) -> list[Sample]:
    first = int(task.shard.name[-6:]) * SHARD_SAMPLES
    return [Sample(_record(first + place)) for place in range(SHARD_SAMPLES)]


def _record(index: int) -> Record:
    return Record(f"k{index:04d}", "toy", "b", "train", "CC0-1.0", "", "png", 1, f"{index:x}", 8, 8)


def write_shard(folder: Path, shard: str, records: Sequence[Record]) -> None:
    write_records(folder / f"{shard}.parquet", records)


def _reread(folder: Path, shard: str) -> list[Record]:
    return read_records(folder / f"{shard}.parquet")


def _tally(records: Sequence[Record]) -> dict[str, int]:
    return {"captions": len(records)}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    for name, value in asdict(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    asked = vars(parser.parse_args(arguments))
    build(asked.pop("folder"), Settings(**asked))
    return 0


if __name__ == "__main__":
    interrupt_on_sigterm()
    sys.exit(exit_code_of(main))
