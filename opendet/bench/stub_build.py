"""A build whose models are stubs: images on disk in, shards out, through the stages' machinery.

`source` and `shards` are the real programs and `filter` has the real rules; `caption`, `regions`
and `describe` have workers that look at the pixels and say what costs nothing to say. So what is
measured is all the rest: reading, checking, decoding, parts, commits, manifests, packing.

`python -m opendet.bench.stub_build [--actors N]`, in a project's folder, builds what is missing
and writes what it cost to `told.json`.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from PIL.Image import Image

from opendet.bench.process_tree import peak_bytes, reset_peak
from opendet.bench.stub_models import Stub, captioned, described, with_regions
from opendet.build import Build
from opendet.console import dress_logging, exit_code_of, interrupt_on_sigterm
from opendet.curate.caption import tally as tally_captions
from opendet.curate.describe import tally as tally_descriptions
from opendet.curate.filter import Filter
from opendet.curate.filter import tally as tally_filtered
from opendet.curate.regions import tally as tally_regions
from opendet.files import write_json_durably
from opendet.parts import with_pixels
from opendet.programs import program_of
from opendet.ray_session import one_ray, ray_session
from opendet.record import Record

NAME = "stub"
TOLD = "told.json"
STAGES = ("source", "caption", "regions", "describe", "filter", "shards")
QUIET = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
"""The environment of a run that is measured."""


def make_project(root: Path, pictures: Path, *, shard_samples: int) -> None:
    """A project whose one build is made of a folder of pictures."""
    config: dict[str, Any] = {
        "run": {"actors": 2},
        "source": {"shard_samples": shard_samples},
        "filter": {"min_margin": None},
    }
    card = {
        "name": "stubs",
        "licence": "CC0-1.0",
        "format": "folder",
        "root": str(pictures.absolute()),
        "batches": [{"name": "a", "split": "train"}],
    }
    (root / "configs").mkdir(parents=True)
    (root / "datasets" / NAME).mkdir(parents=True)
    (root / "params.yaml").write_text(f"build: {NAME}\n")
    (root / "configs" / f"{NAME}.yaml").write_text(yaml.safe_dump(config))
    (root / "datasets" / NAME / "source.yaml").write_text(yaml.safe_dump(card))


def command(*, actors: int) -> list[str]:
    """The command line of a build, to be run in the project's folder."""
    return [sys.executable, "-m", "opendet.bench.stub_build", f"--actors={actors}"]


def run_stage(build: Build, stage: str) -> None:
    """Build what is missing of one stage and publish it."""
    say = {"caption": captioned, "regions": with_regions, "describe": described}.get(stage)
    if say:
        _run_stub(build, stage, say)
    elif stage == "filter":
        _run_filter(build)
    else:
        program_of(stage)(build)


def _run_stub(build: Build, stage: str, say: Callable[[Record, Image], Record]) -> None:
    tallies = {
        "caption": tally_captions,
        "regions": tally_regions,
        "describe": tally_descriptions,
    }
    after = STAGES[STAGES.index(stage) - 1]
    ready = build.record_stage(
        stage,
        after=after,
        parameters=getattr(build.config, stage),
        load=partial(Stub, say),
        tally=tallies[stage],
        prepare=partial(with_pixels, build.images()),
        models={"stub": "1"},
    )
    build.run(ready, build.tasks(after=after))


def _run_filter(build: Build) -> None:
    config = build.config.filter
    stage = build.record_stage(
        "filter",
        after="describe",
        parameters=config,
        load=partial(Filter, config),
        tally=partial(tally_filtered, config=config),
    )
    build.run(stage, build.tasks(after="describe"))


def run_chain(build: Build) -> dict[str, Any]:
    """Run all stages, each measured on its own; what a killed run has told is when it began."""
    began = time.monotonic()
    write_json_durably(Path(TOLD), {"began": began})
    stages = {}
    for stage in STAGES:
        reset_peak()
        begin, worked = time.monotonic(), time.process_time()
        run_stage(build, stage)
        stages[stage] = {
            "seconds": time.monotonic() - begin,
            "driver_cpu": time.process_time() - worked,
            "driver_peak": peak_bytes(),
            **_numbers(build, stage),
        }
    return {"began": began, "ended": time.monotonic(), "stages": stages}


def _numbers(build: Build, stage: str) -> dict[str, int]:
    told = json.loads((build.folder / "metrics" / f"{stage}.json").read_text())[stage]
    return {name: told[name] for name in ("images_out", "shards_made")}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actors", type=int, default=2)
    actors = parser.parse_args(arguments).actors
    started, before = time.monotonic(), peak_bytes()
    build = Build.open(actors=actors)
    # Ray is begun here, so that its start is told apart from the stages.
    with build.lock(), one_ray(), ray_session(actors) if actors else nullcontext():
        told = run_chain(build)
    write_json_durably(Path(TOLD), {**told, "started": started, "peak_before": before})
    return 0


if __name__ == "__main__":
    dress_logging()
    interrupt_on_sigterm()
    sys.exit(exit_code_of(main))
