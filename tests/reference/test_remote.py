"""Remotes as docs/dvc.md has them: pushed to a folder, pulled into a fresh clone, all whole."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from project_world import make_project

from opendet.config import Config

BIN = Path(sys.executable).parent
STAGES = ("prototypes", "shards")


def run(folder: Path, *command: str) -> str:
    """The output of a command that must end well, in a project whose code is its own."""
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    for who in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{who}_NAME": "tester", f"GIT_{who}_EMAIL": "tester@example.org"}
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
    return ran.stdout + ran.stderr


def verify(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "opendet.cli", "data", "verify"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def cloned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build that was made, pushed and committed, and pulled into a clone of its own."""
    world = tmp_path_factory.mktemp("remote")
    made, clone = make_project(world / "made"), world / "clone"
    (made / ".gitignore").write_text(".opendet/\n__pycache__/\n/datasets/*/*/\n")
    run(made, "git", "init", "-q", "-b", "main")
    run(made, "dvc", "init", "-q")
    run(made, "dvc", "repro", "-q", *STAGES)
    run(made, "dvc", "remote", "add", "--default", "store", str(world / "store"))
    run(made, "git", "add", "-A")
    run(made, "git", "commit", "-q", "-m", "built")
    assert "pushed" in run(made, "dvc", "push", *STAGES, "--with-deps")
    run(world, "git", "clone", "-q", str(made), str(clone))
    shutil.rmtree(made)  # nothing may come from anywhere but the remote
    return clone


@pytest.mark.slow
def test_a_clone_pulls_the_whole_build(cloned: Path) -> None:
    assert verify(cloned).returncode == 1, "nothing is there before the pull"
    run(cloned, "dvc", "pull", *STAGES, "--with-deps")
    ended = verify(cloned)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("whole") == 10
    again = run(cloned, "dvc", "repro", *STAGES)
    assert "Running stage" not in again
    assert "up to date" in again


@pytest.mark.slow
def test_a_damaged_file_and_its_damaged_cache_are_mended(cloned: Path) -> None:
    run(cloned, "dvc", "pull", *STAGES, "--with-deps")
    stage = "datasets/tiny/filter"
    listed = run(cloned, "dvc", "ls", ".", stage, "--show-hash")
    [md5] = [line.split()[0] for line in listed.splitlines() if "train-000001.parquet" in line]
    cached = cloned / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    damage(cached)
    shutil.rmtree(cloned / stage)
    run(cloned, "dvc", "checkout", "filter")
    assert "train-000001.parquet is damaged" in verify(cloned).stderr, "DVC reads its cache unseen"
    cached.unlink()
    shutil.rmtree(cloned / stage)
    run(cloned, "dvc", "pull", "filter")
    assert verify(cloned).returncode == 0


@pytest.mark.slow
def test_any_knob_is_changed_for_one_run(cloned: Path) -> None:
    """One that the file has, by its name; one that it leaves out, with two plus signs."""
    run(cloned, "dvc", "pull", *STAGES, "--with-deps")
    knobs = ("filter.min_margin=0.0", "++filter.min_regions=1", "++filter.splits=[train,val]")
    overrides = [word for knob in knobs for word in ("-S", f"configs/tiny.yaml:{knob}")]
    said = run(cloned, "dvc", "exp", "run", "--name", "other", *overrides, "filter")
    assert said.count("Running stage") == 1
    changed = Config.model_validate(yaml.safe_load((cloned / "configs/tiny.yaml").read_text()))
    assert (changed.filter.min_margin, changed.filter.min_regions) == (0.0, 1)
    assert changed.filter.splits == ("train", "val")
    compared = run(cloned, "dvc", "params", "diff")
    assert {"filter.min_margin", "filter.min_regions", "filter.splits"} <= set(compared.split())
    assert "filter.kept" in run(cloned, "dvc", "metrics", "diff")
    put_back(cloned)
    assert "up to date" in run(cloned, "dvc", "status", *STAGES)
    assert "other" in run(cloned, "dvc", "exp", "list")


def put_back(cloned: Path) -> None:
    """As it was committed. The stages that were never built are not there to be checked out."""
    run(cloned, "git", "checkout", "-q", ".")
    run(cloned, "dvc", "checkout", "-q", "--force", "--with-deps", *STAGES)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
