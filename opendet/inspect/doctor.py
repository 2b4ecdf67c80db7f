"""Looks at the machine and the project: is everything there that Open-Det needs?

Says what it found and never the value of an environment variable: some hold tokens.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from opendet.object_store.address import is_address

if TYPE_CHECKING:
    from opendet.sources.card import Batch

NEEDED = (
    "torch",
    "torchvision",
    "transformers",
    "timm",
    "open_clip_torch",
    "ray",
    "pyarrow",
    "pydantic",
    "faster-coco-eval",
    "pillow",
)
OPTIONAL = ("dvclive", "tensorboard")
NEEDED_FREE, COMFORTABLE_FREE = 1e9, 10e9
"""Bytes of disk."""
DVC_PATIENCE = 60.0
"""Seconds for DVC to say its version."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    well: bool
    said: str
    """One line: what was found, or how to mend it."""
    needed: bool = True
    """Whether Open-Det cannot work without it."""

    @property
    def fails(self) -> bool:
        return self.needed and not self.well


def examine(root: Path) -> list[Check]:
    """All checks, of this machine and of the project at `root`. Takes a few seconds."""
    checks: tuple[Callable[[], Check], ...] = (check_python, check_processor, check_gpu, check_dvc)
    return [
        *(check() for check in checks),
        *(check_package(name) for name in NEEDED),
        *(check_package(name, needed=False) for name in OPTIONAL),
        *check_project(root),
        check_shadowing(root),
        check_writing(root),
        check_disk(root),
    ]


def check_python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    well = sys.version_info >= (3, 11)
    return Check("Python", well, found if well else f"{found}; Open-Det needs 3.11 or later")


def check_package(name: str, *, needed: bool = True) -> Check:
    try:
        return Check(name, True, version(name), needed)
    except PackageNotFoundError:
        extra = "" if needed else '; `pip install "opendet[logging]"` brings it'
        return Check(name, False, f"not installed{extra}", needed)


def check_processor() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Check("CPU", True, f"{cores} cores")


def check_gpu() -> Check:
    try:
        import torch
    except ImportError as error:
        return Check("GPU", False, f"torch does not load: {error}", needed=False)
    if not torch.cuda.is_available():
        return Check("GPU", False, "none that torch can use; everything runs on the CPU", False)
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return Check("GPU", True, names, needed=False)


def check_dvc() -> Check:
    """DVC as a program: `make demo` calls it."""
    beside = str(Path(sys.executable).parent)
    program = shutil.which("dvc") or shutil.which("dvc", path=beside)
    if program is None:
        return Check("dvc", False, "not found: install it, or activate the environment it is in")
    try:
        asked = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=DVC_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("dvc", False, f"does not run: {error}")
    if asked.returncode:
        return Check("dvc", False, f"`dvc --version` ends with {asked.returncode}")
    return Check("dvc", True, asked.stdout.strip())


def check_nltk(folder: Path | None = None, *, needed: bool = False) -> Check:
    """nltk's data, in a folder or where nltk looks; needed where the config insists on them."""
    from opendet.annotators.noun_phrases import NounPhrases

    try:
        found = NounPhrases("nltk", folder).revision
    except ValueError as error:
        said = str(error) if needed else "not found; the built-in grammar finds noun phrases"
        return Check("nltk data", False, said, needed)
    return Check("nltk data", True, found, needed)


def check_project(root: Path) -> list[Check]:
    """The build that params.yaml chooses, and whether its sources are there."""
    from opendet.build import Build

    if not (root / "params.yaml").is_file():
        none = Check("project", False, "none in this folder; detect works anywhere", False)
        return [none, check_nltk()]
    try:
        build = Build.open(root=root)
        card = build.card
    except ValueError as error:
        return [Check("project", False, str(error))]
    regions = build.config.regions
    return [
        Check("project", True, f"the build {build.name}"),
        check_nltk(regions.nltk_folder, needed=regions.tagger == "nltk"),
        *(_check_batch(batch, root) for batch in card.batches),
    ]


def _check_batch(batch: "Batch", root: Path) -> Check:
    what = f"batch {batch.name}"
    if batch.format == "scenes":
        return Check(what, True, f"{batch.count} scenes, drawn here")
    if batch.format == "folder" and is_address(batch.images):
        return Check(what, True, f"{batch.images}, which is not looked at here")
    try:
        there = batch.folder(root).is_dir()
    except ValueError as error:
        return Check(what, False, str(error))
    # The root as source.yaml writes it: an environment variable in it stays a name.
    said = f"{batch.root} {'is there' if there else 'is missing: mend it in source.yaml'}"
    return Check(what, there, said)


def check_shadowing(root: Path) -> Check:
    """The folder datasets/ must not stand in for Hugging Face's library of that name."""
    name = "datasets/"
    if not (root / "datasets").is_dir():
        return Check(name, True, "no such folder here")
    if any((root / "datasets").rglob("*.py")):
        said = "holds Python files and would hide the library `datasets`: move them elsewhere"
        return Check(name, False, said)
    try:
        version("datasets")
    except PackageNotFoundError:
        return Check(name, True, "hides nothing: the library `datasets` is not installed")
    found = PathFinder.find_spec("datasets", [str(root), *sys.path])
    well = found is not None and found.origin is not None
    return Check(name, well, "the library `datasets` is found" if well else "hides the library")


def check_writing(root: Path) -> Check:
    try:
        with tempfile.TemporaryFile(dir=root):
            return Check("writing", True, "allowed in this folder")
    except OSError as error:
        return Check("writing", False, f"this folder takes no files: {error.strerror}")


def check_disk(root: Path) -> Check:
    free = shutil.disk_usage(root).free
    said = f"{free / 1e9:.1f} GB free"
    if free < COMFORTABLE_FREE:
        said += ", which is little for anything but the demo"
    return Check("disk", free >= NEEDED_FREE, said)
