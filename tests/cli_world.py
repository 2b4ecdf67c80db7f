"""A project of a few pictures in a folder, and the command line run in it."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from opendet.cli import main

ROOT = Path(__file__).resolve().parent.parent
CONFIG: dict[str, Any] = {
    "run": {"actors": 0},
    "source": {"shard_samples": 4},
    "regions": {"tagger": "grammar"},
    "clip": {"steps": 2, "batch": 8, "texts": 8, "threads": 1, "width": 16},
    "filter": {"min_margin": None, "min_side": 8},
}
SCENES: dict[str, Any] = {
    "name": "scenes",
    "licence": "CC0-1.0",
    "format": "scenes",
    "scenes": {"size": 64},
    "batches": [
        {"name": "train", "split": "train", "count": 6},
        {"name": "val", "split": "val", "count": 3},
    ],
}
COCO: dict[str, Any] = {
    "name": "pictures",
    "licence": "MIT",
    "format": "coco",
    "root": "pictures",
    "batches": [{"name": "train", "split": "train", "annotations": "instances.json"}],
}


@dataclass(frozen=True)
class Ended:
    """How a command line ended."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line on stderr."""
        (line,) = self.err.splitlines()
        return line


def make_project(root: Path, card: dict[str, Any], config: dict[str, Any] | None = None) -> Path:
    """A project whose one build is called `tiny`."""
    (root / "configs").mkdir(parents=True)
    (root / "datasets" / "tiny").mkdir(parents=True)
    (root / "pipelines").symlink_to(ROOT / "pipelines")
    (root / "params.yaml").write_text("build: tiny\n")
    (root / "configs" / "tiny.yaml").write_text(yaml.safe_dump({**CONFIG, **(config or {})}))
    write_card(root, card)
    return root


def write_card(root: Path, card: dict[str, Any]) -> None:
    (root / "datasets" / "tiny" / "source.yaml").write_text(yaml.safe_dump(card))


def write_pictures(root: Path, count: int = 6) -> None:
    """Pictures in COCO's form: each has a large named box, and a caption that holds ESC."""
    folder = root / "pictures"
    folder.mkdir()
    images, boxes = [], []
    for number in range(count):
        name = f"p{number}.jpg"
        (folder / name).write_bytes(picture(number))
        images.append({"id": number, "file_name": name, "width": 64, "height": 48})
        for box in ([4, 4, 30 + number, 30], [2, 2, 5, 5]):
            boxes.append({"image_id": number, "category_id": number % 3, "bbox": box})
    categories = [{"id": id_, "name": name} for id_, name in enumerate(("cat", "dog", "red car"))]
    world = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(world))


def picture(seed: int = 0, size: tuple[int, int] = (64, 48), kind: str = "JPEG") -> bytes:
    """An image file of noise that is like no other seed's."""
    width, height = size
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((width, height)).save(file, kind)
    return file.getvalue()


def run_cli(project: Path, *arguments: str) -> Ended:
    """`opendet ...` in a project's folder, in this process."""
    out, err, path = io.StringIO(), io.StringIO(), list(sys.path)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with chdir(project), redirect_stdout(out), redirect_stderr(err):
            main(arguments)
    except SystemExit as end:
        return Ended(int(end.code or 0), out.getvalue(), err.getvalue())
    finally:
        sys.path[:] = path
        signal.signal(signal.SIGTERM, before)
    raise AssertionError("main always ends with SystemExit")


def start_cli(project: Path, *arguments: str, first: str = "") -> "subprocess.Popen[str]":
    """`opendet ...` as a program of its own, after the Python statement `first`."""
    code = f"{first}\nfrom opendet.cli import main\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stats_of(project: Path) -> dict[str, Any]:
    """Stage -> its ledger, as `opendet data stats --json` prints it."""
    ended = run_cli(project, "data", "stats", "--json")
    assert ended.code == 0, ended.err
    return {stage["stage"]: stage for stage in json.loads(ended.out)["stages"]}


def hashes(*folders: Path) -> dict[str, str]:
    """Every file below some folders -> its sha256; what is not committed is left out."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock" and "attempts" not in path.parts
    }
