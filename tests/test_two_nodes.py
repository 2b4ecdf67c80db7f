"""Two Ray nodes: one loses its power, its network or its pace, or the head is begun anew."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from node_world import (
    PATIENCE,
    Cluster,
    Process,
    a_cable,
    a_cluster,
    cut_power,
    free_port,
    joined,
    wait_for,
    without_namespaces,
)
from project_world import make_project, published, start_build

from opendet.cluster import ADDRESS_VARIABLE

pytestmark = pytest.mark.slow

STAGES = ["caption", "regions"]
IMAGES, SHARDS = 44, 5
IN_FLIGHT = 9
"""Images of a shard."""
CLI = """
from opendet import cluster
from opendet.cli import main
cluster.OUTAGE_SECONDS = 5.0
main()
"""
DEAD_WITHIN = {
    "RAY_health_check_initial_delay_ms": "5000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "5",
}
"""After some ten seconds without a word a node counts as dead; by default it is a minute."""

GATED = '''
"""The stage `caption`. The actor on the node that is to die stops where `gate` says."""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from opendet.build import Build
from opendet.entry import stage_main
from pipelines.plain_caption import main as plain_main

FIRST_SHARD = 3  # calls: nine samples, four at a time


def main(build):
    gate = build.root / "gate"
    if gate.exists():
        run = Build.run

        def run_gated(build, stage, tasks, **rest):
            load = Load(build.root, gate.read_text(), stage.load)
            return run(build, replace(stage, load=load), tasks, **rest)

        Build.run = run_gated
    plain_main(build)


@dataclass
class Load:
    root: Path
    gate: str
    load: object

    def __setstate__(self, state):
        """An actor reads this while it is being placed: before its process has answered."""
        self.__dict__.update(state)
        if self.gate == "placing" and doomed():
            stop(self.root)

    def __call__(self):
        return Worker(self.root, self.load())


@dataclass
class Worker:
    """In its second shard it stops, or waits until the other one has stopped."""

    root: Path
    worker: object
    calls: int = 0

    def __call__(self, samples):
        self.calls += 1
        with (self.root / "asked").open("a") as asked:
            asked.writelines(f"{sample.key}\\n" for sample in samples)
        if self.calls == FIRST_SHARD + 2 and doomed():
            stop(self.root)
        elif self.calls == FIRST_SHARD + 2:
            wait_for(self.root / "stopped")
        return self.worker(samples)


def doomed():
    return os.environ.get("NODE") == "doomed"


def stop(root):
    """Until somebody lets it go on, or for ever."""
    (root / "stopped").touch()
    wait_for(root / "go-on")


def wait_for(path):
    while not path.exists():
        time.sleep(0.05)


if __name__ == "__main__":
    stage_main(main, __doc__)
'''


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose source is built; all builds go on from copies of it."""
    project = make_project(tmp_path_factory.mktemp("fresh") / "project")
    (project / "pipelines" / "caption.py").rename(project / "pipelines" / "plain_caption.py")
    (project / "pipelines" / "caption.py").write_text(GATED)
    assert start_build(project, actors=0, stages=["source"]).wait() == 0
    return project


@pytest.fixture(scope="module")
def expected(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an undisturbed build in one process makes."""
    project = tmp_path_factory.mktemp("alone") / "project"
    shutil.copytree(fresh, project)
    assert start_build(project, actors=0, stages=STAGES).wait() == 0
    return published(project)


def test_a_node_that_dies_costs_its_shard_in_flight(
    fresh: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    with (
        a_cluster(cpus=1) as cluster,
        joined(cluster, "doomed") as node,
        building(fresh, tmp_path, cluster, gate="working", actors=2) as build,
    ):
        build.wait_for((build.project / "stopped").exists, "stop on the doomed node")
        build.wait_for(build.committed, "committed part")
        assert build.committed() < SHARDS
        cut_power(node)
        assert build.code() == 0, build.said.read_text()
    assert published(build.project) == expected
    assert "caption: lost the node of a worker; the build goes on" in build.said.read_text()
    asked = (build.project / "asked").read_text().split()
    assert len(set(asked)) == IMAGES
    assert len(asked) <= IMAGES + IN_FLIGHT


def test_a_node_that_dies_while_an_actor_is_placed_there(
    fresh: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """There is no other: the build waits until another one joins."""
    with (
        a_cluster(cpus=0) as cluster,
        joined(cluster, "doomed") as node,
        building(fresh, tmp_path, cluster, gate="placing", actors=1) as build,
    ):
        build.wait_for((build.project / "stopped").exists, "stop on the doomed node")
        cut_power(node)
        with joined(cluster, "spare"):
            assert build.code() == 0, build.said.read_text()
    assert published(build.project) == expected
    assert len((build.project / "asked").read_text().split()) == IMAGES


@pytest.mark.skipif(bool(without_namespaces()), reason=without_namespaces())
def test_a_node_that_is_cut_off_works_on_and_changes_nothing(
    fresh: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """The network between two namespaces goes; its actor still writes into the shared folder."""
    with (
        a_cable() as cable,
        a_cluster(cpus=1, place=cable.head, told=DEAD_WITHIN) as cluster,
        joined(cluster, "doomed", cable.other),
        building(fresh, tmp_path, cluster, gate="working", actors=2) as build,
    ):
        build.wait_for((build.project / "stopped").exists, "stop on the doomed node")
        build.wait_for(build.committed, "committed part")
        cable.cut()
        (build.project / "go-on").touch()
        assert build.code() == 0, build.said.read_text()
    assert published(build.project) == expected
    assert "caption: lost the node of a worker; the build goes on" in build.said.read_text()
    asked = (build.project / "asked").read_text().split()
    assert len(set(asked)) == IMAGES
    # both have made the one shard, the one that was cut off perhaps not to its end
    assert IMAGES < len(asked) <= IMAGES + IN_FLIGHT
    assert len(build.parts()) == SHARDS


def test_a_slow_actor_holds_up_its_own_shard_alone(
    fresh: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """It goes on once all the others are done, which waits for ever where they wait for it."""
    with (
        a_cluster(cpus=1) as cluster,
        joined(cluster, "doomed"),
        building(fresh, tmp_path, cluster, gate="working", actors=2) as build,
    ):
        build.wait_for((build.project / "stopped").exists, "stop of the slow actor")
        build.wait_for(lambda: build.committed() == SHARDS - 1, "end of all other shards")
        (build.project / "go-on").touch()
        assert build.code() == 0, build.said.read_text()
    assert published(build.project) == expected
    assert len((build.project / "asked").read_text().split()) == IMAGES


def test_a_build_goes_on_after_its_head_has_come_back(
    fresh: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    ports = free_port(), free_port()
    with (
        a_cluster(cpus=1, ports=ports) as cluster,
        joined(cluster, "doomed"),
        building(fresh, tmp_path, cluster, gate="working", actors=2) as build,
    ):
        build.wait_for((build.project / "stopped").exists, "stop on the doomed node")
        build.wait_for(build.committed, "committed part")
        cut_power(cluster.node)
        assert build.code() == 1
        *_, line = build.said.read_text().splitlines()
        assert line.startswith(f"pipelines.caption: lost {cluster.address} and its job opendet-")
        done = build.committed()
        # the old node's actor works on, among those of the new head
        (build.project / "go-on").touch()
        with (
            a_cluster(cpus=1, ports=ports) as again,
            joined(again, "other"),
            running(build.project, build.said, again, actors=2) as second,
        ):
            assert second.code() == 0, second.said.read_text()
    assert 0 < done < SHARDS
    assert published(build.project) == expected
    assert f"caption: {SHARDS - done} of {SHARDS} shards to do" in second.said.read_text()
    asked = (build.project / "asked").read_text().split()
    assert len(set(asked)) == IMAGES
    assert len(asked) <= IMAGES + 2 * IN_FLIGHT


@dataclass(frozen=True)
class Building:
    """`opendet data build` on a cluster, under way."""

    project: Path
    said: Path
    process: Process

    def wait_for(self, come: Callable[[], object], what: str) -> None:
        wait_for(come, what, self.process, self.said)

    def committed(self) -> int:
        """Parts of the stage `caption`."""
        folder = self.project / ".opendet" / "tiny" / "caption"
        return len(list(folder.glob("*/commits/*.json")))

    def parts(self) -> list[str]:
        """Of the stage `caption`, committed or not."""
        folder = self.project / ".opendet" / "tiny" / "caption"
        return sorted(path.name for path in folder.glob("*/parts/*"))

    def code(self) -> int:
        return self.process.wait(PATIENCE)


@contextmanager
def building(
    fresh: Path, tmp_path: Path, cluster: Cluster, *, gate: str, actors: int
) -> Iterator[Building]:
    """A copy of the project, and the build of it that stops where `gate` says."""
    project = tmp_path / "project"
    shutil.copytree(fresh, project)
    (project / "gate").write_text(gate)
    with running(project, tmp_path / "said", cluster, actors=actors) as build:
        yield build


@contextmanager
def running(project: Path, said: Path, cluster: Cluster, *, actors: int) -> Iterator[Building]:
    command = [sys.executable, "-c", CLI, "data", "build", *STAGES, "--actors", str(actors)]
    with said.open("a") as stderr:
        process = subprocess.Popen(
            [*cluster.place.begin, *command],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(project), ADDRESS_VARIABLE: cluster.address},
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        yield Building(project, said, process)
    finally:
        process.kill()
        process.wait()
