"""A project of a few pictures, and the program `opendet` run in it as a person runs it."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from opendet.faults.syscalls import Ended

BUILD = "toy"
SIZE = (64, 48)
"""Width and height of a picture."""
BOX_XYWH = (4, 4, 30, 20)
CONFIG: dict[str, Any] = {
    "run": {"actors": 0},
    "source": {"shard_samples": 4},
    "regions": {"tagger": "grammar"},
    "clip": {"steps": 2, "batch": 8, "texts": 8, "threads": 1, "width": 16},
    "filter": {"min_margin": None, "min_side": 8},
}


def make_project(root: Path, batches: Sequence[Mapping[str, Any]], **card: Any) -> Path:
    """A project whose one build is made of these batches of the folder `pictures`."""
    (root / "configs").mkdir(parents=True)
    (root / "datasets" / BUILD).mkdir(parents=True)
    (root / "params.yaml").write_text(f"build: {BUILD}\n")
    (root / "configs" / f"{BUILD}.yaml").write_text(yaml.safe_dump(CONFIG))
    told = {"name": "toys", "licence": "CC0-1.0", "root": "pictures", **card}
    text = yaml.safe_dump({**told, "batches": [dict(batch) for batch in batches]})
    (root / "datasets" / BUILD / "source.yaml").write_text(text)
    return root


def make_training_project(root: Path) -> Path:
    """A project of six pictures in COCO's form, configured up to a training of seconds."""
    from opendet.faults.toy_training import project_sections  # with torch

    batch = {"name": "b", "split": "train", "annotations": "instances.json"}
    project = make_project(root, [{**batch, "captions": "captions.json"}], format="coco")
    write_coco(project / "pictures", 6)
    told = {**CONFIG, **project_sections(prompt_width=CONFIG["clip"]["width"])}
    (project / "configs" / f"{BUILD}.yaml").write_text(yaml.safe_dump(told))
    return project


def picture(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """Noise that looks like no other seed's."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write_coco(folder: Path, count: int, *, first: int = 0, name: str = "a thing") -> None:
    """Pictures with a box and a caption each, numbered from `first`, in COCO's form."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = range(first, first + count)
    for number in numbers:
        (folder / f"{number}.jpg").write_bytes(encoded(picture(number)))
    width, height = SIZE
    images = [{"id": n, "file_name": f"{n}.jpg", "width": width, "height": height} for n in numbers]
    boxes = [{"image_id": n, "category_id": n % 2, "bbox": list(BOX_XYWH)} for n in numbers]
    said = [{"image_id": n, "caption": f"{name} in noise"} for n in numbers]
    names = [{"id": 0, "name": name}, {"id": 1, "name": "another"}]
    instances = {"images": images, "annotations": boxes, "categories": names}
    (folder / "instances.json").write_text(json.dumps(instances))
    (folder / "captions.json").write_text(json.dumps({"annotations": said}))


def run_opendet(project: Path, *arguments: str, **environment: str) -> Ended:
    """`opendet ...` in the project's folder; what it said is stdout and stderr together."""
    ran = subprocess.run(
        [sys.executable, "-m", "opendet.cli", *arguments],
        cwd=project,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return Ended(ran.returncode, ran.stdout)
