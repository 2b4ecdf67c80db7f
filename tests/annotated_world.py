"""Records as the stage `regions` leaves them where the source's boxes are kept beside others."""

from collections.abc import Sequence
from pathlib import Path

from opendet.manifest import FileStamp, Manifest, PartCommit, ShardName, write_manifest
from opendet.parts import write_record_part
from opendet.record import BoxXYXY, Provenance, Record, Region

CAT: BoxXYXY = (10, 10, 50, 50)
DOG: BoxXYXY = (60, 10, 100, 50)
FLOCK: BoxXYXY = (0, 60, 120, 120)


def known(
    box_xyxy: BoxXYXY, label: str | None, *others: str, crowd: bool = False, names: str = ""
) -> Region:
    """A region of the source; `names` is what a later stage called it."""
    called = (names,) if names else ()
    return Region(
        box_xyxy, Provenance("source"), label=label, other_labels=others, crowd=crowd, names=called
    )


def found(
    box_xyxy: BoxXYXY, *names: str, score: float | None = 0.9, by: str = "eye", revision: str = "1"
) -> Region:
    """A region of an annotator."""
    return Region(box_xyxy, Provenance(by, revision, score=score), names=names)


def record(*regions: Region, key: str = "val-1", split: str = "val") -> Record:
    return Record(
        *(key, "toy", "val", split, "CC0-1.0", "a.png", "png", 1, "0" * 64),
        width=120,
        height=120,
        regions=regions,
    )


def publish(folder: Path, records: Sequence[Record], stage: str = "regions") -> None:
    """A stage's folder as a build has it, one part for each split."""
    folder.mkdir(parents=True)
    parts = []
    for split in sorted({one.split for one in records}):
        chosen = [one for one in records if one.split == split]
        name = ShardName(f"{split}-000000", split, split)
        write_record_part(folder, name.name, chosen)
        files = {f"{name.name}.parquet": FileStamp.of(folder / f"{name.name}.parquet")}
        parts.append(PartCommit(name, len(chosen), len(chosen), (), (), {}, files))
    write_manifest(folder, Manifest(stage, "f0", tuple(parts)))
