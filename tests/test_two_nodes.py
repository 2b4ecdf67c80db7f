"""Two Ray nodes on this machine, started as a user starts them; one of them loses its power."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import psutil
import pytest
from project_world import make_project, published, start_build

from opendet.cluster import ADDRESS_VARIABLE

pytestmark = pytest.mark.slow

PATIENCE = 200.0
"""Seconds that anything may take on a busy machine."""
STAGES = ["caption", "regions"]
IMAGES, SHARDS = 44, 5
IN_FLIGHT = 9
"""Images of a shard."""
RAY = Path(sys.executable).with_name("ray")
CLI = [sys.executable, "-c", "from opendet.cli import main\nmain()"]

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
        if self.calls == FIRST_SHARD + 2:
            if doomed():
                stop(self.root)
            while not (self.root / "stopped").exists():
                time.sleep(0.05)
        return self.worker(samples)


def doomed():
    return os.environ.get("NODE") == "doomed"


def stop(root):
    (root / "stopped").touch()
    while True:
        time.sleep(0.05)


if __name__ == "__main__":
    stage_main(main, __doc__)
'''


Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Cluster:
    """Of a head alone, until nodes join it."""

    head: str
    """Where nodes join it."""
    address: str
    """Of its job server."""


@contextmanager
def a_cluster(cpus: int) -> Iterator[Cluster]:
    """A head with so many CPUs for actors."""
    port, server = free_port(), free_port()
    address = f"http://127.0.0.1:{server}"
    told = ("--head", f"--port={port}", "--include-dashboard=true", f"--dashboard-port={server}")
    with a_node("head", *told, f"--num-cpus={cpus}") as head:
        wait_for(lambda: nodes_seen(address) == 1, "head", head)
        yield Cluster(f"127.0.0.1:{port}", address)


@contextmanager
def joined(cluster: Cluster, name: str) -> Iterator[Process]:
    """A further node, of one CPU."""
    before = nodes_seen(cluster.address)
    with a_node(name, f"--address={cluster.head}", "--num-cpus=1") as node:
        wait_for(lambda: nodes_seen(cluster.address) > before, f"node {name}", node)
        yield node


@contextmanager
def a_node(name: str, *arguments: str) -> Iterator[Process]:
    """`ray start`; the node's processes are all below the one that is given."""
    # Not pytest's folder: the names of Ray's sockets must be short.
    with TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        command = [
            *(RAY, "start", "--block", *arguments),
            *("--node-ip-address=127.0.0.1", f"--temp-dir={folder}"),
            *("--dashboard-agent-listen-port=0", "--object-store-memory=100000000"),
        ]
        process = subprocess.Popen(
            command,
            cwd=folder,
            # Ray wants to be asked twice before two of its nodes share a loopback address.
            env={**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1", "NODE": name},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            cut_power(process)


def cut_power(node: Process) -> None:
    """SIGKILL to every process of a node."""
    if node.poll() is None:
        for process in [*psutil.Process(node.pid).children(recursive=True), node]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
    node.wait()


def nodes_seen(address: str) -> int:
    """How many have ever joined the cluster; 0 while it does not answer."""
    try:
        with urlopen(f"{address}/api/v0/nodes", timeout=10) as reply:
            return len(json.load(reply)["data"]["result"]["result"])
    except (OSError, HTTPException):
        return 0


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(
    come: Callable[[], object], what: str, process: Process, said: Path | None = None
) -> None:
    """Until it has come; fails where the process ends, or nothing comes."""
    deadline = time.monotonic() + PATIENCE
    while not come():
        told = said.read_text() if said else ""
        assert process.poll() is None, f"{what}: it ended with {process.returncode}\n{told}"
        assert time.monotonic() < deadline, f"no {what} after {PATIENCE:.0f} s\n{told}"
        time.sleep(0.1)


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

    def code(self) -> int:
        return self.process.wait(PATIENCE)


@contextmanager
def building(
    fresh: Path, tmp_path: Path, cluster: Cluster, *, gate: str, actors: int
) -> Iterator[Building]:
    project, said = tmp_path / "project", tmp_path / "said"
    shutil.copytree(fresh, project)
    (project / "gate").write_text(gate)
    with said.open("w") as stderr:
        process = subprocess.Popen(
            [*CLI, "data", "build", *STAGES, "--actors", str(actors)],
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
