"""How the stages hand records to each other: reading a part as samples, and writing one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from opendet.files import sha256_of
from opendet.record import Record
from opendet.sample import Sample
from opendet.schema import read_records, write_records
from opendet.sources.image_files import ImageFiles
from opendet.sources.images import decode_upright
from opendet.stage import Task


def read_samples(folder: Path, task: Task) -> list[Sample]:
    """The records of a task's input part, without their images. Raises ValueError for damage."""
    path = folder / f"{task.shard.name}.parquet"
    return [
        Sample(record) for record in read_whole(path, task.inputs[f"{folder.name}/{path.name}"])
    ]


def read_whole(path: Path, sha256: str) -> list[Record]:
    """The records of a part that a manifest names. Raises ValueError if it is another file."""
    if path.is_file() and sha256_of(path) != sha256:
        raise ValueError(
            f"{path} is damaged: its sha256 is not its manifest's: bring it back by `dvc checkout`,"
            " or remove the stage's folder in .opendet/<build> and build the stage"
        )
    return read_records(path)


def with_pixels(images: ImageFiles, sample: Sample) -> Sample:
    """The sample with its upright image. Raises ValueError where its file is gone or changed."""
    return replace(sample, pixels=decode_upright(images.read(sample.record)))


def with_content(images: ImageFiles, sample: Sample) -> Sample:
    """The sample with its file's own bytes. Raises ValueError like `with_pixels`."""
    return replace(sample, content=images.read(sample.record))


def write_record_part(folder: Path, shard: str, records: Sequence[Record]) -> None:
    write_records(folder / f"{shard}.parquet", records)


def read_record_part(folder: Path, shard: str) -> list[Record]:
    return read_records(folder / f"{shard}.parquet")
