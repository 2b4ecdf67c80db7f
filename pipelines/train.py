"""Stage train: the detector, trained on the build's shards; killed, it goes on where it was."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opendet.build import Build, digest_of
from opendet.entry import stage_main
from opendet.train.distributed import follows
from opendet.train.launch import Job, crew, follower_main
from opendet.train.llmdet_start import language_content
from opendet.train.recipe import Recipe
from opendet.train.semantic_sources import SemanticSources
from opendet.train.start import content_of, namer_content


def main(build: Build) -> None:
    job, fingerprint, inputs = job_of(build)
    with crew(job, build.address) as train_all:

        def make(folder: Path) -> Mapping[str, Any]:
            shutil.copytree(train_all(), folder / "model")
            shutil.copy(job.work_folder / "series.csv", folder)
            if build.config.train.signals:
                shutil.copy(job.work_folder / "signals.parquet", folder)
            metrics: dict[str, Any] = json.loads(
                (job.work_folder / "metrics.json").read_text("utf-8")
            )
            return dict(metrics["train"])

        build.run_whole("train", fingerprint, inputs=inputs, make=make)


def job_of(build: Build) -> tuple[Job, str, dict[str, str]]:
    """What is to be trained, where, the stage's fingerprint, and what the model is made from."""
    config = build.config
    recipe = Recipe(config.train, config.loader, config.detector, config.namer, config.objective)
    semantics = semantics_of(build)
    inputs = build.stamps("shards", "clip", *(("prototypes", "embed") if semantics else ()))
    start_content = content_of(config.train.start_from)
    if config.train.start_from:
        inputs["start_from"] = start_content
    if config.objective.llmdet.used:
        inputs["language"] = language_content(config.objective.llmdet)
    if content := namer_content(recipe):
        inputs["t5"] = content
    fingerprint = build.fingerprint("train", *recipe.sections(), config.text)
    run = f"run-{digest_of(sorted(inputs.values()))[:16]}"
    work_folder = build.work("train", fingerprint).root / run
    shards, clip = build.stage_folder("shards"), build.stage_folder("clip")
    cache = build.work("text", "towers").root
    job = Job(recipe, shards, clip, config.text, cache, work_folder, start_content, semantics)
    return job, fingerprint, inputs


def semantics_of(build: Build) -> SemanticSources | None:
    """For a detector with a prototype head: the pool, and CLIP's vectors of the regions."""
    if build.config.detector.semantics == "none":
        return None
    return SemanticSources(build.stage_folder("prototypes"), build.stage_folder("embed"))


if __name__ == "__main__":
    if follows():  # torchrun started it to help: rank 0 alone goes through the build
        follower_main(lambda build: job_of(build)[0], __doc__)
    stage_main(main, __doc__)
