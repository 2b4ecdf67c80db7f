"""A build of six pictures whose records are known, and the stages after them, without any model.

Each picture has a box [4, 4, 34 + n, 34] of a cat, a dog or a red car, and one that is too small.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from opendet.manifest import (
    FileStamp,
    Manifest,
    PartCommit,
    commit_text,
    read_manifest,
    write_manifest,
)
from opendet.parts import write_record_part
from opendet.record import BoxXYXY, Phrase, Provenance, Record, Region
from opendet.schema import read_records
from opendet.shard_set import ShardSet
from tests.cli_world import COCO, make_project, run_cli, write_pictures
from tests.exports.export_world import mask_of

MODEL = Provenance("toy model", "7", score=0.5)
CONFIG: dict[str, Any] = {
    "source": {"shard_samples": 2},
    "filter": {"min_margin": 0.0, "min_side": 8, "require_caption": False},
}


def corrected_project(root: Path) -> Path:
    """Built up to the shards: three of them, of two pictures each."""
    make_project(root, COCO, CONFIG)
    write_pictures(root)
    assert run_cli(root, "data", "build", "source").code == 0
    _judge(root / "datasets/tiny")
    rebuild(root)
    return root


def rebuild(root: Path) -> str:
    """Filter and shards; what they said."""
    ended = run_cli(root, "data", "build", "filter", "shards")
    assert ended.code == 0, ended.err
    return ended.err


def packed(root: Path) -> dict[str, Record]:
    """Key -> its record in the shards."""
    shards = ShardSet.open(root / "datasets/tiny/shards")
    records = (shards.record(index) for index in range(len(shards)))
    return {record.key: record for record in records}


def counts(root: Path, stage: str = "filter") -> dict[str, Any]:
    """The numbers of a stage."""
    text = (root / f"datasets/tiny/metrics/{stage}.json").read_text()
    numbers: dict[str, Any] = json.loads(text)[stage]
    return numbers


def exported_coco(root: Path, name: str, *more: str) -> dict[str, Any]:
    """What `opendet data export coco` writes into the folder `name`."""
    ended = run_cli(root, "data", "export", "coco", name, *more)
    assert ended.code == 0, ended.err
    world: dict[str, Any] = json.loads((root / name / "instances_train.json").read_text("utf-8"))
    return world


def edited(root: Path, world: dict[str, Any], name: str = "edited.json") -> str:
    (root / name).write_text(json.dumps(world))
    return name


def box_of(world: dict[str, Any], key: str) -> dict[str, Any]:
    """The annotation of a picture that has one."""
    [image] = [one["id"] for one in world["images"] if one["opendet_key"] == key]
    [row] = [one for one in world["annotations"] if one["image_id"] == image]
    annotation: dict[str, Any] = row
    return annotation


def region(box_xyxy: BoxXYXY, name: str, **fields: Any) -> Region:
    return replace(Region(box_xyxy, MODEL, names=(name,), names_from=MODEL), **fields)


def _judge(folder: Path) -> None:
    """The stage `verify` out of the stage `source`, as if models had named and judged all."""
    source, target = folder / "source", folder / "verify"
    target.mkdir()
    parts = []
    for part in read_manifest(source).parts:
        name = f"{part.shard.name}.parquet"
        records = [_judged(record) for record in read_records(source / name)]
        write_record_part(target, part.shard.name, records)
        files = {name: FileStamp.of(target / name)}
        commit = PartCommit(part.shard, len(records), len(records), (), (), {}, files)
        (target / f"{part.shard.name}.json").write_text(commit_text(commit))
        parts.append(commit)
    write_manifest(target, Manifest("verify", "f0", tuple(parts)))


def _judged(record: Record) -> Record:
    return replace(
        record,
        caption=f"A {record.regions[0].label}.",
        caption_from=MODEL,
        phrases=(Phrase(2, 5, (0, 1), MODEL),),
        regions=tuple(_named(one, record) for one in record.regions),
    )


def _named(one: Region, record: Record) -> Region:
    assert one.label is not None
    return replace(
        one,
        names=(one.label,),
        names_from=MODEL,
        description=f"a {one.label}",
        description_from=MODEL,
        agreement=0.1 if one.label == "red car" else 0.5,
        rival="spoon",
        rival_agreement=0.2,
        agreement_from=MODEL,
        name_checked=MODEL,
        box_checked=MODEL,
        mask=mask_of(np.eye(record.height, record.width, dtype=np.bool_)),
    )
