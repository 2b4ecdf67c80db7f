"""The path of somebody new: the commands of docs/first_hour.md, run as they stand there."""

import logging
import os
import re
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path
from string import Template

import numpy as np
import pytest
import yaml
from onnx_world import write_constant

from opendet.train.export import Resize, export_model
from opendet.train.weights import own_tensors
from tests.cli_world import ROOT, picture, run_cli
from tests.model.worlds import build_detector

log = logging.getLogger(__name__)

MOST = 10
SET_UP = 4  # the commands that need a network


def blocks(page: Path) -> list[list[str]]:
    """The shell blocks of a page, each as its commands."""
    found = re.findall(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [block.replace("\\\n", " ").strip().splitlines() for block in found]


def commands() -> list[str]:
    return blocks(ROOT / "docs" / "first_hour.md")[1]


def variables() -> set[str]:
    """What the page asks a reader to say first."""
    return {line.partition("=")[0] for line in blocks(ROOT / "docs" / "first_hour.md")[0]}


def save_start(folder: Path) -> Path:
    """A small model of ours to fine-tune."""
    detector = build_detector()
    resize = Resize(shortest=64, longest=96, multiple=32)
    export_model(folder, detector, own_tensors(detector), resize=resize, training={})
    return folder


def test_it_is_at_most_ten_commands_each_of_them_one() -> None:
    listed = commands()
    assert len(listed) <= MOST
    for line in listed:
        words = shlex.split(line)
        assert not {"&&", "||", ";", "|"} & set(words), line
    assert [shlex.split(line)[0] for line in listed[:SET_UP]] == ["git", "python3.11", ".", "pip"]
    own = [shlex.split(line)[:2] for line in listed[SET_UP:]]
    told = ["annotate", "inspect", "mine", "data", "train", "detect"]
    assert [second for _, second in own] == told


def test_the_readme_has_the_same_commands() -> None:
    assert commands() in blocks(ROOT / "README.md")


def test_every_variable_is_asked_for() -> None:
    used = set(re.findall(r"\$([A-Z]+)", " ".join(commands())))
    assert used == variables()


def test_the_programs_of_the_stages_are_installed_with_the_package() -> None:
    """Else `opendet train` would work in a checkout alone."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "pipelines*" in project["tool"]["setuptools"]["packages"]["find"]["include"]


def test_own_photographs_are_annotated_inspected_and_exported(tmp_path: Path) -> None:
    """The commands up to the training, by a detector that says the same of every picture."""
    photos = tmp_path / "my photos"
    photos.mkdir()
    for number in range(6):
        (photos / f"{number}.jpg").write_bytes(picture(number))
    said = {
        "boxes": np.array([[2, 2, 20, 20], [20, 10, 30, 31]], np.float32),
        "scores": np.array([0.9, 0.6], np.float32),
        "labels": np.array([0, 1], np.int64),
    }
    names = {"names": str({0: "cat", 1: "dog"})}
    detector = write_constant(tmp_path / "detector.onnx", said, metadata=names)
    told = {"PHOTOS": photos, "DETECTOR": detector, "NAMES": "", "START": ""}
    here, printed = tmp_path, ""
    for line in commands()[SET_UP:-2]:
        program, *words = [Template(word).substitute(told) for word in shlex.split(line)]
        if program == "cd":
            here /= words[0]
            continue
        assert program == "opendet"
        more = ["--no-open"] if words[0] == "annotate" else []
        ended = run_cli(here, *words, *more)
        assert ended.code == 0, (line, ended.err)
        printed += ended.out
    assert "coco: 6 images, 12 objects written" in printed
    pages = (here / "pages" / "index.html").read_text("utf-8")
    assert "cat" in pages
    assert (here / "coco" / "train.json").is_file() or list((here / "coco").rglob("*.json"))


@pytest.mark.slow
def test_the_whole_path_offline_on_real_photographs(shared_data: Path, tmp_path: Path) -> None:
    """Twenty photographs of COCO, FastestDet, and a model of ours to fine-tune; logs what each
    command took (`pytest --log-cli-level INFO`)."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in sorted((shared_data / "coco_tiny" / "val2017").iterdir())[:20]:
        (photos / path.name).symlink_to(path)
    config = yaml.safe_load((ROOT / "configs" / "coco_tiny_fastestdet.yaml").read_text())
    names = config["regions"]["detectors"][0]["class_names"]
    (tmp_path / "coco.txt").write_text("\n".join(names))
    told = {
        "PHOTOS": str(photos),
        "DETECTOR": str(shared_data / "fastestdet" / "FastestDet.onnx"),
        "NAMES": str(tmp_path / "coco.txt"),
        "START": str(save_start(tmp_path / "start")),
    }
    here = tmp_path
    for line in commands()[SET_UP:]:
        begin, before = time.monotonic(), cpu_seconds()
        here = run_line(line, here, told)
        spent = time.monotonic() - begin, cpu_seconds() - before
        log.info("%5.1f s, of a CPU %5.1f s: %s", *spent, line)
    drawn = {path.stem for path in (here / "found").iterdir()}
    assert drawn == {path.stem for path in photos.iterdir()}
    card = yaml.safe_load((here / "datasets/mine/metrics/train.json").read_text())["train"]
    assert card["seconds"] > 0
    pages = (here / "pages" / "index.html").read_text("utf-8")
    assert "person" in pages


def cpu_seconds() -> float:
    """Of all commands so far: what a busy machine does not change."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_line(line: str, here: Path, told: dict[str, str]) -> Path:
    """One command by a shell of its own; gives the folder that it ends in."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **told, "PATH": path, "PYTHONPATH": str(ROOT), "BROWSER": "true"}
    ended = subprocess.run(
        ["bash", "-c", f"set -e\n{line}\npwd"],
        cwd=here,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, (line, ended.stderr)
    return Path(ended.stdout.splitlines()[-1])
