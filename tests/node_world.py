"""Ray nodes on this machine, begun as a user begins them, that can lose their power.

A head and its nodes share loopback, or stand in network namespaces of their own that a pair of
virtual cards joins: then a node can be cut off while it lives.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import psutil

PATIENCE = 200.0
"""Seconds that anything may take on a busy machine."""
RAY = Path(sys.executable).with_name("ray")

Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Place:
    """Where a node stands: how a program is begun there, and the address that others see."""

    begin: tuple[str, ...] = ()
    ip: str = "127.0.0.1"


HERE = Place()


@dataclass(frozen=True)
class Cluster:
    """Of a head alone, until nodes join it."""

    head: str
    """Where nodes join it."""
    address: str
    """Of its job server, which listens on its place's loopback alone."""
    node: Process
    """The head's own."""
    place: Place = HERE
    told: Mapping[str, str] = field(default_factory=dict)
    """Of the environment of its nodes."""

    def nodes_seen(self) -> int:
        """How many have ever joined; 0 while it does not answer."""
        url = f"{self.address}/api/v0/nodes"
        if self.place.begin:
            command = [*self.place.begin, sys.executable, "-c", _READ, url]
            reply = subprocess.run(command, capture_output=True, text=True).stdout
        else:
            reply = _read(url)
        return len(json.loads(reply)["data"]["result"]["result"]) if reply else 0


_READ = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode())"


def _read(url: str) -> str:
    try:
        with urlopen(url, timeout=10) as reply:
            return str(reply.read().decode())
    except (OSError, HTTPException):
        return ""


@contextmanager
def a_cluster(
    cpus: int,
    place: Place = HERE,
    *,
    ports: tuple[int, int] | None = None,
    told: Mapping[str, str] | None = None,
) -> Iterator[Cluster]:
    """A head with so many CPUs for actors; `ports` are those of the head and of its job server,
    `told` is of the environment of all nodes."""
    told = told or {}
    port, server = ports or (free_port(), free_port())
    options = ("--head", f"--port={port}", "--include-dashboard=true", f"--dashboard-port={server}")
    with a_node("head", *options, f"--num-cpus={cpus}", place=place, told=told) as head:
        cluster = Cluster(f"{place.ip}:{port}", f"http://127.0.0.1:{server}", head, place, told)
        wait_for(lambda: cluster.nodes_seen() == 1, "head", head)
        yield cluster


@contextmanager
def joined(cluster: Cluster, name: str, place: Place | None = None) -> Iterator[Process]:
    """A further node, of one CPU."""
    before = cluster.nodes_seen()
    options = (f"--address={cluster.head}", "--num-cpus=1")
    with a_node(name, *options, place=place or cluster.place, told=cluster.told) as node:
        wait_for(lambda: cluster.nodes_seen() > before, f"node {name}", node)
        yield node


@contextmanager
def a_node(name: str, *options: str, place: Place, told: Mapping[str, str]) -> Iterator[Process]:
    """`ray start`; the node's processes are all below the one that is given."""
    # Not pytest's folder: the names of Ray's sockets must be short.
    with TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        command = [
            *(*place.begin, str(RAY), "start", "--block", *options),
            *(f"--node-ip-address={place.ip}", f"--temp-dir={folder}"),
            *("--dashboard-agent-listen-port=0", "--object-store-memory=100000000"),
        ]
        process = subprocess.Popen(
            command,
            cwd=folder,
            # Ray wants to be asked twice before two of its nodes share a loopback address.
            env={**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1", "NODE": name, **told},
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


@dataclass(frozen=True)
class Cable:
    """Between two network namespaces."""

    head: Place
    other: Place

    def cut(self) -> None:
        _run(*self.head.begin, "ip", "link", "set", "near", "down")


@contextmanager
def a_cable() -> Iterator[Cable]:
    """Two places that see each other alone; nothing of them is left after the block."""
    with ExitStack() as stack:
        one, two = (stack.enter_context(_namespace()) for _ in range(2))
        near, far = (("nsenter", "-t", str(pid), "-n") for pid in (one, two))
        _run(*near, "ip", "link", "add", "near", "type", "veth", "peer", "far", "netns", str(two))
        for begin, card, ip in ((near, "near", "10.77.0.1"), (far, "far", "10.77.0.2")):
            _run(*begin, "ip", "address", "add", f"{ip}/24", "dev", card)
            for link in ("lo", card):
                _run(*begin, "ip", "link", "set", link, "up")
        yield Cable(Place(near, "10.77.0.1"), Place(far, "10.77.0.2"))


def without_namespaces() -> str:
    """Why no cable can be made here; empty where one can."""
    missing = [name for name in ("ip", "nsenter", "unshare") if shutil.which(name) is None]
    if missing:
        return f"{missing[0]} is not installed: apt-get install iproute2 util-linux"
    ran = subprocess.run(["unshare", "-n", "true"], capture_output=True)
    return "network namespaces need root" if ran.returncode else ""


@contextmanager
def _namespace() -> Iterator[int]:
    """The id of a process that stands in a network namespace of its own."""
    command = ["unshare", "-n", "sh", "-c", "echo; exec cat"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout
    try:
        assert process.stdout.readline(), "no namespace"
        yield process.pid
    finally:
        process.communicate()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


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
