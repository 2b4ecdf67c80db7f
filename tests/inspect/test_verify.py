"""Whatever is changed in a finished build is found, and named in one line."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from opendet.build import Build
from opendet.inspect.verify import verify_build
from opendet.schema import read_records, write_records
from opendet.stage_order import DATA_STAGES
from tests.cli_world import SCENES, make_project, run_cli

FIRST = "train-000000"


def problems_of(project: Path) -> dict[str, tuple[str, ...]]:
    """Stage -> its problems, for stages that have some."""
    verdicts = verify_build(Build.open(root=project))
    return {verdict.stage: verdict.problems for verdict in verdicts if verdict.problems}


def flip(path: Path, place: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 0x10
    path.unlink()  # The published file is a hard link into the work folder.
    path.write_bytes(content)


def test_a_finished_build_is_whole(finished: Path) -> None:
    verdicts = verify_build(Build.open(root=finished))
    assert tuple(verdict.stage for verdict in verdicts) == DATA_STAGES
    assert all(verdict.files and verdict.bytes and not verdict.problems for verdict in verdicts)
    ended = run_cli(finished, "data", "verify")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("whole") == len(DATA_STAGES)


DAMAGES: list[tuple[str, Callable[[Path], object], str]] = [
    ("caption", lambda f: flip(f / f"{FIRST}.parquet"), "sha256"),
    ("embed", lambda f: flip(f / f"{FIRST}.vectors.parquet"), "sha256"),
    ("clip", lambda f: flip(f / "clip.json"), "sha256"),
    ("shards", lambda f: flip(f / f"{FIRST}.tar"), "sha256"),
    ("regions", lambda f: (f / f"{FIRST}.parquet").unlink(), "is missing"),
    ("filter", lambda f: (f / f"{FIRST}.json").unlink(), "is missing"),
    ("filter", lambda f: flip(f / f"{FIRST}.json", 0.03), "is damaged"),
    ("describe", lambda f: (f / "manifest.json").unlink(), "is missing"),
    ("source", lambda f: (f / "stray.parquet").write_text(""), "remove it"),
    ("prototypes", lambda f: (f / "stray").symlink_to("/nowhere"), "remove it"),
    ("shards", lambda f: (f / "stray.tar").write_text(""), "remove it"),
]


@pytest.mark.parametrize(("stage", "damage", "said"), DAMAGES)
def test_damage_is_found(
    project: Path, stage: str, damage: Callable[[Path], object], said: str
) -> None:
    damage(project / "datasets/tiny" / stage)
    found = problems_of(project)
    assert found.keys() == {stage}
    assert said in found[stage][0]
    assert str(project) not in found[stage][0], "paths are below the project's root"
    ended = run_cli(project, "data", "verify")
    assert ended.code == 1
    assert ended.err.splitlines() == list(found[stage])


def test_a_sample_that_vanished_without_a_trace(project: Path) -> None:
    """Files, hashes and counts all agree with each other, but a key is another one."""
    folder = project / "datasets/tiny/caption"
    path = folder / f"{FIRST}.parquet"
    records = read_records(path)
    path.unlink()
    write_records(path, [replace(records[0], key="train-intruder"), *records[1:]])
    restamp(folder, path)
    said = " ".join(problems_of(project)["caption"])
    assert f"{records[0].key} came in and is neither kept, dropped nor quarantined" in said
    assert "train-intruder came in 0 times and is accounted for 1 times" in said


def test_parts_of_another_input_are_stale(project: Path) -> None:
    shutil.rmtree(project / "datasets/tiny/describe")
    config = project / "configs/tiny.yaml"
    config.write_text(config.read_text() + "\ndescribe: {planted_error_share: 1.0}\n")
    assert run_cli(project, "data", "build", "describe").code == 0
    found = problems_of(project)
    assert found.keys() == {"clip", "embed"}
    assert all("run `opendet data build embed`" in problem for problem in found["embed"])


def test_shards_alone_are_no_problem(project: Path) -> None:
    for stage in DATA_STAGES[:-1]:
        shutil.rmtree(project / "datasets/tiny" / stage)
    assert problems_of(project) == {}


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    project = make_project(tmp_path / "scenes", SCENES)
    assert run_cli(project, "data", "build", "source").code == 0
    assert problems_of(project) == {}
    return project


def test_drawn_images_are_compared_with_their_records(scenes: Path) -> None:
    drawn = scenes / "datasets/tiny/source/images-val-000000.parquet"
    flip(drawn, 0.3)
    (problem,) = problems_of(scenes)["source"]
    assert "images-val-000000.parquet is damaged" in problem
    drawn.write_bytes(drawn.read_bytes()[:100])
    (problem,) = problems_of(scenes)["source"]
    assert "3 images of it are not those of their records, the first is val-000000" in problem
    drawn.unlink()
    (problem,) = problems_of(scenes)["source"]
    assert "is missing" in problem


def restamp(folder: Path, path: Path) -> None:
    """Make commit record and manifest agree with a file that was changed."""
    import hashlib

    content = path.read_bytes()
    stamp = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    commit_path, manifest_path = folder / f"{path.stem}.json", folder / "manifest.json"
    commit, manifest = json.loads(commit_path.read_text()), json.loads(manifest_path.read_text())
    for part in (commit, *manifest["parts"]):
        if path.name in part["files"]:
            part["files"][path.name] = stamp
    for target, value in ((commit_path, commit), (manifest_path, manifest)):
        target.unlink()
        target.write_text(json.dumps(value))
