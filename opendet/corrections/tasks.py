"""Which shards a build's corrections touch: those alone are filtered anew when one is given."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from opendet.corrections.batches import FOLDER, Corrections, corrections_in

if TYPE_CHECKING:
    from opendet.build import Build
    from opendet.stage import Task

INPUT = "corrections"
"""What a task calls what people said of its images, among its inputs."""


def corrections_of(build: "Build") -> Corrections:
    """Those that the stage `filter` applies: all that were given by now, or none where its section
    says so. Raises ValueError, in one line, for damage."""
    folder = build.root / FOLDER / build.name
    return corrections_in(folder) if build.config.filter.corrections else Corrections(folder)


def told_tasks(build: "Build", corrections: Corrections) -> "list[Task]":
    """The filter's tasks; one whose images were corrected has what was said of them as an input."""
    tasks = build.tasks(after="verify")
    if not corrections.sha256s:
        return tasks
    told = []
    for task in tasks:
        part = build.stage_folder("verify") / f"{task.shard.name}.parquet"
        digest = corrections.digest(_keys_of(part))
        told.append(replace(task, inputs={**task.inputs, INPUT: digest}) if digest else task)
    return told


def _keys_of(part: Path) -> list[str]:
    """Of all its records. Arrow's error of a damaged file is a ValueError."""
    return [str(key) for key in pq.read_table(part, columns=["key"])["key"].to_pylist()]
