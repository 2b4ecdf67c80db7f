"""`opendet data publish` and `fetch`, as users give them."""

from pathlib import Path

import pytest

from tests.cli_world import SCENES, make_project, run_cli, start_cli
from tests.object_store.s3_server import BUCKET, SECRET
from tests.object_store.store_world import contents
from tests.shard_world import small_build


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = make_project(tmp_path / "project", SCENES)
    small_build(root / "datasets/tiny/shards")
    return root


def test_there_and_back_and_inspected(project: Path) -> None:
    address = (project / "store").as_uri()
    published = run_cli(project, "data", "publish", address)
    assert published.code == 0, published.err
    assert published.out.startswith(f"{address}: version ")
    assert "3 parts; 8 of 8 files sent" in published.out
    again = run_cli(project, "data", "publish", address, "--build", "tiny", "--verify")
    assert "0 of 8 files sent, 0 bytes" in again.out
    fetched = run_cli(project, "data", "fetch", address, "fetched", "--transfers", "2")
    assert fetched.code == 0, fetched.err
    assert "3 parts; 6 of 6 files fetched" in fetched.out
    assert contents(project / "fetched") == contents(project / "datasets/tiny/shards")
    inspected = run_cli(project, "inspect", "fetched", "--verify")
    assert inspected.code == 0, inspected.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("publish", "somewhere"), "somewhere is no address"),
        (("publish", "file:///tmp/x", "--build", "other"), "other"),
        (("publish", "memory://x"), "memory://x ends with this program"),
        (("fetch", "file:///nowhere/at/all", "fetched"), "no data set is published there"),
        (("fetch", "file:///nowhere/at/all", "fetched", "--version", "v1"), "is no version"),
    ],
)
def test_what_is_wrong_is_one_line(project: Path, arguments: tuple[str, ...], said: str) -> None:
    ended = run_cli(project, "data", *arguments)
    assert ended.code == 1
    assert said in ended.line
    assert not (project / "fetched").exists()


@pytest.mark.parametrize("place", ["datasets/tiny/shards", "datasets/tiny", ".opendet/s", "."])
def test_a_store_that_a_build_would_wipe_is_refused(project: Path, place: str) -> None:
    before = contents(project)
    ended = run_cli(project, "data", "publish", (project / place).resolve().as_uri())
    assert ended.code == 1
    assert "lie one within the other" in ended.line
    assert contents(project) == before


def test_shards_that_are_not_built_are_asked_for(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", SCENES)
    ended = run_cli(root, "data", "publish", (tmp_path / "store").as_uri())
    assert ended.code == 1
    assert "build the stage first" in ended.line
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_on_s3_no_secret_is_told_whatever_is_said(server: str, project: Path) -> None:
    noisy = "import logging; logging.basicConfig(level=logging.DEBUG)"
    for address in (f"s3://{BUCKET}/demo", "s3://no-such-bucket/demo"):
        running = start_cli(project, "data", "publish", address, first=noisy)
        out, err = running.communicate()
        assert running.returncode == (1 if "no-such" in address else 0), err
        assert SECRET not in out + err
    stored = [path for path in project.rglob("*") if path.is_file()]
    assert all(SECRET.encode() not in path.read_bytes() for path in stored)
