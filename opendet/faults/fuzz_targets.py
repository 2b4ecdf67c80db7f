"""Everything that reads a file which may come from anywhere, each with an undamaged one."""

import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from opendet.config import load_config
from opendet.curate.source import SourceChecker, SourceConfig
from opendet.faults.annotation_seeds import Seed, pictures, seeds
from opendet.faults.killed import bytes_of
from opendet.faults.mutations import mutated, mutated_header, mutated_json
from opendet.faults.toy_build import read_shard as read_toys
from opendet.faults.toy_build import tasks, write_shard
from opendet.faults.toy_shards import toy_sample, vouch, write_toy_shards
from opendet.inspect.collection import Trouble, open_collection
from opendet.manifest import PartCommit
from opendet.schema import read_records, write_records
from opendet.shard_check import verify_shards
from opendet.shard_notes import NoteStore
from opendet.shard_reader import read_index, read_shard
from opendet.shard_set import ShardSet
from opendet.sources.batches import list_batch
from opendet.sources.card import SourceCard, read_card
from opendet.work import WorkFolder
from opendet.yaml_file import read_yaml

CONFIG = b"""run: {actors: 0, batch_size: 4}
source: {shard_samples: 9, near_duplicates: drop, max_pixels: 1000000}
caption: {}
regions: {tagger: grammar}
clip: {steps: 4, batch: 16, texts: 32, threads: 1}
filter: {min_margin: -0.5, splits: [train, val]}
detector: {width: 32, backbone: {name: tiny, tiny_channels: [8, 16, 16, 16]}}
loader: {shortest_edges: [32, 40], longest_edge: 64}
"""
CARD = b"""name: toys
licence: CC0-1.0
format: coco
root: pictures
scenes: {size: 64}
batches:
  - {name: train, split: train, annotations: a.json, checksums: {a.json: "0"}}
  - {name: val, split: val, format: scenes, count: 3}
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A reader, and what it reads without a word."""

    name: str
    files: Mapping[str, bytes]
    """Path -> content; one of them is damaged."""
    read: Callable[[Path], object]
    """Reads the folder. May raise ValueError, in one line that names the file, nothing else."""
    beside: Mapping[str, bytes]
    """What it needs and is never damaged."""

    def damaged(self, number: int) -> tuple[str, bytes]:
        """The file that is damaged in try `number`, and what it holds then."""
        rng = random.Random(f"{self.name} {number}")
        name = rng.choice(sorted(self.files))
        change = mutated
        if rng.random() < 0.6:
            change = {"json": mutated_json, "tar": mutated_header}.get(
                name[-4:].strip("l."), change
            )
        return name, change(self.files[name], rng)


def targets(folder: Path) -> list[Target]:
    """All of them; `folder` is where the undamaged files are made."""
    return [
        *_of_shards(folder),
        _of_work(folder),
        *(_of_batch(name, seed) for name, seed in seeds().items()),
        *_of_yaml(),
    ]


def _of_shards(folder: Path) -> list[Target]:
    write_toy_shards(folder / "shards", shards=2, each=2)
    write_records(folder / "a-000000.parquet", [toy_sample(n).record for n in range(3)])
    whole = bytes_of(folder / "shards")
    one = {name: content for name, content in whole.items() if name.startswith("a-000000.")}
    tar = {"a-000000.tar": one["a-000000.tar"]}
    loose = {**tar, "a-000000.idx": one["a-000000.idx"]}
    rest = {name: content for name, content in whole.items() if name not in loose}
    records = {"a.parquet": (folder / "a-000000.parquet").read_bytes()}
    return [
        Target("a shard", tar, lambda at: list(read_shard(at / "a-000000.tar")), {}),
        Target("an index", loose, lambda at: read_index(at / "a-000000.idx"), {}),
        Target("a folder of shards", whole, _read_set, {}),
        Target("shards that the manifest vouches for", loose, _read_vouched, rest),
        Target("verify", whole, _verify, {}),
        Target("the inspector on shards", loose, _look, {}),
        Target("the inspector on a build's shards", whole, _look, {}),
        Target("the inspector on records", records, _look, {}),
        Target("records", records, lambda at: read_records(at / "a.parquet"), {}),
    ]


def _read_set(folder: Path) -> None:
    """As a trainer does at its start; and at its next one, by the notes of the first."""
    notes = folder / "verified"
    shutil.rmtree(notes, ignore_errors=True)  # of another try
    for _ in range(2):
        shards = ShardSet.open(folder, kept=NoteStore(notes))
        for index in range(len(shards)):
            shards.sample(index)


def _read_vouched(folder: Path) -> None:
    vouch(folder)
    _read_set(folder)


def _verify(folder: Path) -> None:
    for problem in verify_shards(folder):
        _one_line(problem.what)


def _look(folder: Path) -> None:
    collection = open_collection(folder)
    for line in collection.troubles:
        _one_line(line)
    for piece in collection.pieces:
        for key in collection.keys(piece)[:2]:
            collection.find(key)
        for found in (*collection.records(piece), *collection.samples(piece)):
            if isinstance(found, Trouble):
                _one_line(found.line)


def _one_line(text: str) -> None:
    assert "\n" not in text, f"several lines: {text!r}"


def _of_work(folder: Path) -> Target:
    """A commit record, which counts for its part or for nothing."""
    [task], work = tasks(1), WorkFolder(folder / "work")
    records = [sample.record for sample in read_toys(task)]
    files = work.write_part(task.shard.name, lambda at: write_shard(at, task.shard.name, records))
    there = len(records)
    work.commit(PartCommit(task.shard, there, there, (), (), {}, files, task.inputs))
    whole = bytes_of(work.root)
    commits = {name: content for name, content in whole.items() if name.startswith("commits/")}
    rest = {name: content for name, content in whole.items() if name not in commits}

    def read(folder: Path) -> None:
        commit = WorkFolder(folder).committed(task)
        assert commit is None or commit.files == files, f"it counts, with the files {commit.files}"

    return Target("a commit record", commits, read, rest)


def _of_batch(name: str, seed: Seed) -> Target:
    told = {"name": "b", "split": "train", "root": ".", "images": "images", **seed.batch}
    return Target(name, seed.files, partial(_source, told), pictures())


def _source(batch: Mapping[str, object], folder: Path) -> None:
    """All that the stage `source` does with a batch, but writing it down."""
    card = SourceCard.model_validate({"name": "toys", "licence": "CC0-1.0", "batches": [batch]})
    entries = list_batch(card, card.batches[0], folder)
    SourceChecker(SourceConfig(), card, folder)(entries[:4])


def _of_yaml() -> list[Target]:
    return [
        Target("the configuration", {"c.yaml": CONFIG}, lambda at: load_config(at / "c.yaml"), {}),
        Target("the source card", {"s.yaml": CARD}, lambda at: read_card(at / "s.yaml"), {}),
        Target(
            "params.yaml", {"p.yaml": b"build: demo\n"}, lambda at: read_yaml(at / "p.yaml"), {}
        ),
    ]
