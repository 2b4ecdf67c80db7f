"""`python -m opendet.bench.scale_build FOLDER --stage NAME`: a stage of many stub samples.

The stage `caption` writes records, `shards` packs them with one tiny picture each. All else is what
every stage goes through: actors on Ray, parts, commit records, the manifest, publishing. What it
took is written to FOLDER/<stage>.told.json.
"""

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from opendet.bench.process_tree import peak_bytes
from opendet.build import counts_of
from opendet.console import exit_code_of, interrupt_on_sigterm
from opendet.curate import shards
from opendet.faults.toy_shards import toy_sample
from opendet.files import write_json_durably
from opendet.flow import run
from opendet.manifest import Manifest, ShardName, read_manifest
from opendet.parts import read_record_part, read_samples, write_record_part
from opendet.ray_session import ray_session
from opendet.record import Record
from opendet.sample import Dropped, Sample
from opendet.stage import Stage, Task
from opendet.work import WorkFolder

LEFT_OUT = 50
"""One sample of so many is dropped, so that the ledger has something to hold."""


@dataclass(frozen=True, slots=True)
class Size:
    """Of a simulated build."""

    shards: int = 10_000
    each: int = 100
    actors: int = 2

    @property
    def samples(self) -> int:
        return self.shards * self.each


@dataclass(frozen=True, slots=True)
class Told:
    """What a run of a stage took and came to."""

    made: int
    """Parts of this run."""
    run_seconds: float
    publish_seconds: float
    peak_gigabytes: float
    """Of the driver."""
    counts: dict[str, Any]
    """Of the whole stage, not of this run alone."""


def caption(folder: Path, size: Size) -> Told:
    """Every record gets a caption, but for those that are dropped."""
    stage: Stage[Sample, Record] = Stage(
        name="caption",
        fingerprint="scale",
        read=partial(_planned, size),
        load=_Captioner,
        write=write_record_part,
        reread=read_record_part,
        tally=_captions,
    )
    names = [ShardName(f"a-{number:06d}", "a", "train") for number in range(size.shards)]
    return _built(stage, [Task(name) for name in names], folder, size)


def packed(folder: Path, size: Size) -> Told:
    """The published captions as shards."""
    captions = folder / "caption"
    stage: Stage[Sample, Sample] = Stage(
        name="shards",
        fingerprint="scale",
        read=partial(read_samples, captions),
        load=partial(_Packer, toy_sample(0)),
        write=shards.write_part,
        tally=shards.tally,
    )
    tasks = [
        Task(part.shard, {f"caption/{n}": stamp.sha256 for n, stamp in part.files.items()})
        for part in read_manifest(captions).parts
    ]
    return _built(stage, tasks, folder, size, add=_write_index)


STAGES: dict[str, Callable[[Path, Size], Told]] = {"caption": caption, "shards": packed}


class _Captioner:
    def __call__(self, samples: Sequence[Sample]) -> list[Record | Dropped]:
        return [self._one(sample.record) for sample in samples]

    def _one(self, record: Record) -> Record | Dropped:
        if int(record.key[-9:]) % LEFT_OUT == 0:
            return Dropped(record.key, "unwanted", "as planned")
        return replace(record, caption=f"what {record.key} shows")


@dataclass(frozen=True, slots=True)
class _Packer:
    """Gives every sample the same picture."""

    stub: Sample

    def __call__(self, samples: Sequence[Sample]) -> list[Sample]:
        return [replace(sample, content=self.stub.content) for sample in samples]


def _planned(size: Size, task: Task) -> list[Sample]:
    stub = toy_sample(0)
    first = int(task.shard.name[-6:]) * size.each
    sha256 = hashlib.sha256(stub.content).hexdigest()
    return [
        Sample(replace(stub.record, key=f"a-{first + place:09d}", sha256=sha256))
        for place in range(size.each)
    ]


def _captions(records: Sequence[Record]) -> dict[str, int]:
    return {"captions": len(records)}


def _write_index(folder: Path, manifest: Manifest) -> None:
    shards.write_index(folder, "scale", manifest)


def _built(
    stage: Stage[Any, Any],
    tasks: Sequence[Task],
    folder: Path,
    size: Size,
    add: Callable[[Path, Manifest], None] | None = None,
) -> Told:
    work = WorkFolder(folder / "work" / stage.name)
    start = time.monotonic()
    # Like a build, which starts no Ray where nothing is left to do.
    done = all(work.committed(task) for task in tasks)
    with nullcontext() if done else ray_session(cpus=size.actors):
        ran = run(stage, tasks, work, actors=size.actors)
    ran_at = time.monotonic()
    work.publish(folder / stage.name, ran.manifest, add)
    return Told(
        made=ran.parts_made,
        run_seconds=ran_at - start,
        publish_seconds=time.monotonic() - ran_at,
        peak_gigabytes=peak_bytes() / 1e9,
        counts=counts_of(ran.manifest),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stage", choices=STAGES, required=True)
    for name, value in asdict(Size()).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = vars(parser.parse_args(arguments))
    folder, stage = asked.pop("folder"), asked.pop("stage")
    told = STAGES[stage](folder, Size(**asked))
    write_json_durably(folder / f"{stage}.told.json", asdict(told))
    return 0


if __name__ == "__main__":
    interrupt_on_sigterm()
    sys.exit(exit_code_of(main))
