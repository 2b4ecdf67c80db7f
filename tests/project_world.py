"""A small project of its own: real stages, scenes for a source, a CLIP that hardly learns."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from flow_world import bytes_of

ROOT = Path(__file__).resolve().parent.parent
DATA_STAGES = (
    "source caption regions describe clip embed verify filter prototypes shards".split()  # noqa: SIM905
)

SOURCE = """
name: scenes
licence: CC0-1.0
format: scenes
batches:
  - {name: train, split: train, count: 36}
  - {name: val, split: val, count: 8}
"""

CONFIG = """
run: {actors: 0, batch_size: 4}
source: {shard_samples: 9}
caption: {}
regions: {tagger: grammar}
describe: {planted_error_share: 0.3}
clip: {steps: 4, batch: 16, texts: 32, threads: 1}
embed: {}
verify: {}
filter: {min_margin: -0.5}
prototypes: {coarse: 4}
shards: {}
"""

BUILD = """
import importlib, sys
from opendet.entry import run_stages
stages = [importlib.import_module(f"pipelines.{name}").main for name in sys.argv[2].split(",")]
sys.exit(run_stages(stages, "", int(sys.argv[1])))
"""


def make_project(folder: Path) -> Path:
    """A checkout's files that a build needs, with a tiny build called `tiny`."""
    for name in ("opendet", "pipelines"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "dvc.yaml", folder)
    shutil.copy(ROOT / ".dvcignore", folder)
    (folder / "params.yaml").write_text("build: tiny\n")
    shutil.copytree(ROOT / "configs" / "prompts", folder / "configs" / "prompts")
    (folder / "configs" / "tiny.yaml").write_text(CONFIG)
    (folder / "datasets" / "tiny").mkdir(parents=True)
    for inputs in ("label_value", "corrections"):
        shutil.copytree(ROOT / "datasets" / inputs, folder / "datasets" / inputs)
    (folder / "datasets" / "tiny" / "source.yaml").write_text(SOURCE)
    return folder


def start_build(
    project: Path, *, actors: int, stages: list[str] | None = None, **environment: str
) -> "subprocess.Popen[bytes]":
    """Begin the data stages of the project's build in a process of its own."""
    names = ",".join(stages or DATA_STAGES)
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(actors), names],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project), **environment},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def build(project: Path, *, actors: int = 0, **environment: str) -> dict[str, bytes]:
    """Build the data stages; what they published, byte for byte (metrics tell the time)."""
    assert start_build(project, actors=actors, **environment).wait() == 0
    return published(project)


def published(project: Path) -> dict[str, bytes]:
    files = bytes_of(project / "datasets" / "tiny")
    return {name: content for name, content in files.items() if not name.startswith("metrics/")}
