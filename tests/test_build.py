"""The whole data build keeps the flow's promises: equal bytes whoever runs it and whatever dies."""

import random
import time
from pathlib import Path

import psutil
import pytest
from project_world import DATA_STAGES, build, make_project, published, start_build

from opendet.manifest import read_manifest
from opendet.shard_check import verify_shards


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return build(make_project(tmp_path_factory.mktemp("undisturbed")))


def test_every_image_is_accounted_for_and_the_shards_verify(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    folder = tmp_path / "shards"
    for name, content in undisturbed.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert verify_shards(folder) == []
    coming = 44
    for stage in (name for name in DATA_STAGES if name not in ("clip", "prototypes")):
        parts = read_manifest(tmp_path / stage).parts
        assert sum(part.samples_in for part in parts) == coming
        coming = sum(part.samples_out for part in parts)
    assert len(read_manifest(folder).parts) == 5


def test_ray_gives_the_local_runners_bytes(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    assert build(make_project(tmp_path), actors=2, PYTHONHASHSEED="7") == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("actors", [0, 1, 2, 4])
@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_runners_and_hash_seeds_give_equal_bytes(
    tmp_path: Path, undisturbed: dict[str, bytes], actors: int, seed: str
) -> None:
    project = make_project(tmp_path)
    assert build(project, actors=actors, PYTHONHASHSEED=seed, TZ="Asia/Tokyo") == undisturbed


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_the_build_ends_with_equal_bytes(
    tmp_path: Path, undisturbed: dict[str, bytes], kills: int
) -> None:
    """The driver or one of its workers dies, again and again; the build is started until done."""
    chance = random.Random(kills)
    project = make_project(tmp_path)
    process = start_build(project, actors=2)
    for kill in range(kills):
        time.sleep(chance.uniform(2.0, 9.0))
        _kill(process, driver=kill % 2 == 0)
        if process.poll() is not None:
            process.wait()
            process = start_build(project, actors=2)
    while process.wait() != 0:
        process = start_build(project, actors=2)
    assert published(project) == undisturbed
    work = project / ".opendet" / "tiny"
    assert not [path for path in work.rglob("attempts/*") if path.exists()]


def _kill(process: "psutil.Popen", *, driver: bool) -> None:
    """SIGKILL the driver, or the first of its workers where one runs."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
        workers = [one for one in family if one.name().startswith("ray::")]
        (psutil.Process(process.pid) if driver or not workers else workers[0]).kill()
    except psutil.NoSuchProcess:
        return  # it was done before


def test_a_build_that_runs_is_not_built_twice(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    first = start_build(project, actors=0)
    lock = project / ".opendet" / "tiny" / "lock"
    while not (lock.exists() and lock.read_text()):
        assert first.poll() is None
        time.sleep(0.05)
    assert start_build(project, actors=0).wait() == 1
    assert first.wait() == 0
