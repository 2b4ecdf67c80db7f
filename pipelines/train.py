"""Stage train: the detector, trained on the build's shards; killed, it goes on where it was."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opendet.build import Build, digest_of
from opendet.curate.clip import open_clip_of
from opendet.entry import stage_main
from opendet.train.recipe import Recipe
from opendet.train.run import train


def main(build: Build) -> None:
    config = build.config
    sections = (config.train, config.loader, config.detector, config.namer, config.objective)
    inputs = build.stamps("shards", "clip")
    fingerprint = build.fingerprint("train", *sections)
    run = f"run-{digest_of(sorted(inputs.values()))[:16]}"
    work_folder = build.work("train", fingerprint).root / run

    def make(folder: Path) -> Mapping[str, Any]:
        clip, choice = open_clip_of(build.stage_folder("clip"))
        shards = build.stage_folder("shards")
        model = train(Recipe(*sections), shards, work_folder, clip=clip, template=choice.template)
        shutil.copytree(model, folder / "model")
        shutil.copy(work_folder / "series.csv", folder)
        metrics: dict[str, Any] = json.loads((work_folder / "metrics.json").read_text())
        return dict(metrics["train"])

    build.run_whole("train", fingerprint, inputs=inputs, make=make)


if __name__ == "__main__":
    stage_main(main, __doc__)
