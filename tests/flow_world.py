"""A small world for the flow: records without images, and workers that misbehave on request."""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from opendet.manifest import ShardName
from opendet.record import Record
from opendet.sample import Dropped, Sample
from opendet.schema import read_records, write_records
from opendet.stage import Stage, Task

SHARDS, SHARD_SAMPLES = 6, 16


def record(index: int) -> Record:
    return Record(f"k{index:04d}", "toy", "b", "train", "CC0-1.0", "", "png", 1, f"{index:x}", 8, 8)


def tasks(shards: int = SHARDS) -> list[Task]:
    names = [ShardName(f"b-{number:06d}", "b", "train") for number in range(shards)]
    return [Task(name, {"input": name.name}) for name in names]


def read(task: Task) -> list[Sample]:
    first = int(task.shard.name[-6:]) * SHARD_SAMPLES
    return [Sample(record(first + place)) for place in range(SHARD_SAMPLES)]


def write(folder: Path, shard: str, records: Sequence[Record]) -> None:
    write_records(folder / f"{shard}.parquet", records)


def reread(folder: Path, shard: str) -> list[Record]:
    return read_records(folder / f"{shard}.parquet")


@dataclass
class Captioner:
    """Writes a caption that depends on the batch, as a model's floats do."""

    raises_on: tuple[str, ...] = ()
    dies_on: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()
    seconds: float = 0.0
    calls_to: str = ""
    """A file that gets a line for each sample seen, so that a test can count the work."""

    def __call__(self, samples: Sequence[Sample]) -> list[Record | Dropped]:
        if self.calls_to:
            with Path(self.calls_to).open("a") as calls:
                calls.writelines(f"{sample.key}\n" for sample in samples)
        time.sleep(self.seconds)
        batch = samples[0].key
        return [self._one(sample, batch) for sample in samples]

    def _one(self, sample: Sample, batch: str) -> Record | Dropped:
        if sample.key in self.dies_on:
            os.kill(os.getpid(), signal.SIGKILL)
        if sample.key in self.raises_on:
            raise ValueError(f"cannot read {sample.key}\nand a second line")
        if sample.key in self.drops:
            return Dropped(sample.key, "unwanted", "toy")
        return replace(sample.record, caption=f"{sample.key} in the batch of {batch}")


def tally(records: Sequence[Record]) -> dict[str, int]:
    return {"captions": len(records)}


def stage(captioner: Captioner | None = None) -> Stage[Sample, Record]:
    return Stage(
        name="caption",
        fingerprint="f0",
        read=read,
        load=partial(_same, captioner or Captioner()),
        write=write,
        reread=reread,
        tally=tally,
        batch_size=4,
    )


def _same(captioner: Captioner) -> Captioner:
    return captioner


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder and its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
