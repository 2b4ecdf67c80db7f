"""A stage on a Ray cluster: a private one of this machine, with a job server on loopback."""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import flow_world as world
import pytest
import yaml
from project_world import ROOT, make_project, published, start_build

from opendet import actors
from opendet.build import Build
from opendet.cluster import INSECURE_VARIABLE, _variables, check_address, submit_stage
from opendet.flow import run
from opendet.ray_session import ray_session
from opendet.telemetry import SWITCHES
from opendet.work import WorkFolder

# Other tests' Rays live on this machine too. Ray gives every node's agent the same port, and lets a
# job join whichever Ray it finds unless, as `ray start` does, somebody notes which one is meant.
CLUSTER = """
import functools, sys, ray
from ray._private import parameter, utils
parameter.RayParams = functools.partial(parameter.RayParams, dashboard_agent_listen_port=0)
ray.init(
    address="local", num_cpus=2, include_dashboard=True, dashboard_host="127.0.0.1",
    dashboard_port=int(sys.argv[1]), log_to_driver=False, logging_level="ERROR",
    _temp_dir=sys.argv[2],
)
head = ray.get_runtime_context().gcs_address
utils.write_ray_address(head, sys.argv[2])
print(head, flush=True)
sys.stdin.read()
ray.shutdown()
"""

SLOW = """
import time
from functools import partial

from opendet.curate.caption import Captioner, tally
from opendet.entry import stage_main


class Slow:
    def __init__(self, root, config):
        self.root, self.captioner = root, Captioner(config)

    def __call__(self, samples):
        (self.root / "at-work").touch()
        while (self.root / "hold").exists():
            time.sleep(0.05)
        return self.captioner(samples)


def main(build):
    load = partial(Slow, build.root, build.config.caption)
    stage = build.record_stage(
        "slow", after="source", parameters=build.config.caption, load=load, tally=tally
    )
    build.run(stage, build.tasks(after="source"))


if __name__ == "__main__":
    stage_main(main, __doc__)
"""


@dataclass(frozen=True)
class Cluster:
    """A Ray whose working folder is not the project's, as a cluster's is not."""

    address: str
    """Of the job server."""
    head: str
    """Of Ray itself."""
    folder: Path
    """Where Ray keeps its logs."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with a_cluster() as started:
        yield started


@contextmanager
def a_cluster(**variables: str) -> Iterator[Cluster]:
    port = free_port()
    # Not pytest's folder: the names of Ray's sockets must be short.
    with TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER, str(port), folder],
            cwd=folder,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert process.stdout
        try:
            head = process.stdout.readline().strip()
            assert head, "Ray did not start"
            yield Cluster(f"http://127.0.0.1:{port}", head, Path(folder))
        finally:
            process.communicate()  # Its stdin ends, and it with it.


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose source is built."""
    folder = make_project(tmp_path_factory.mktemp("cluster") / "project")
    assert start_build(folder, actors=0, stages=["source"]).wait() == 0
    return folder


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_stage(
    project: Path, stage: str, *arguments: str, **variables: str
) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", f"pipelines.{stage}", *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project), **variables},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run_stage(project: Path, stage: str, *arguments: str, **variables: str) -> tuple[int, str]:
    """Its exit code, and what it said."""
    process = start_stage(project, stage, *arguments, **variables)
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def test_a_job_makes_the_bytes_of_a_local_build(cluster: Cluster, project: Path) -> None:
    # Ray's own variable would send the job to wherever it points.
    nowhere = {"RAY_ADDRESS": f"http://127.0.0.1:{free_port()}"}
    code, said = run_stage(
        project, "caption", "--address", cluster.address, "--actors", "1", **nowhere
    )
    assert code == 0, said
    assert "caption: 5 of 5 shards to do" in said  # the job's own log
    there = published(project)
    assert "caption/manifest.json" in there
    shutil.rmtree(project / ".opendet" / "tiny" / "caption")
    shutil.rmtree(project / "datasets" / "tiny" / "caption")
    assert start_build(project, actors=0, stages=["caption"]).wait() == 0
    assert published(project) == there


def test_a_failing_job_is_its_reason_and_one_closing_line(cluster: Cluster, project: Path) -> None:
    code, said = run_stage(project, "embed", "--address", cluster.address)
    assert code == 1
    lines = said.splitlines()
    assert lines[-2].endswith("describe/manifest.json is missing: build the stage first")
    assert lines[-1].startswith(f"pipelines.embed failed on {cluster.address} as job opendet-")
    assert lines[-1].endswith("its log is above")
    assert "Traceback" not in said


def test_ctrl_c_stops_the_job_and_the_next_run_goes_on(cluster: Cluster, project: Path) -> None:
    (project / "pipelines" / "slow.py").write_text(SLOW)
    (project / "hold").touch()
    process = start_stage(project, "slow", "--address", cluster.address, "--actors", "1")
    assert process.stderr
    # The log is shown while the job runs: its worker is held until we let it go.
    assert any("slow: 5 of 5 shards to do" in line for line in process.stderr)
    while not (project / "at-work").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; what is committed stays" in said.splitlines()[-1]
    assert job_statuses(cluster).pop() == "STOPPED"
    (project / "hold").unlink()
    assert start_build(project, actors=0, stages=["slow"]).wait() == 0
    assert sum(part.samples_out for part in Build.open(root=project).manifest("slow").parts) == 44


def job_statuses(cluster: Cluster) -> list[str]:
    """Of the submitted jobs, the latest last."""
    from ray.job_submission import JobSubmissionClient

    jobs = [job for job in JobSubmissionClient(cluster.address).list_jobs() if job.submission_id]
    return [str(job.status) for job in sorted(jobs, key=lambda job: job.start_time or 0)]


@pytest.mark.slow
def test_a_cluster_that_asks_for_a_token(project: Path, tmp_path: Path) -> None:
    """It is told ours, and its logs hold nothing of it."""
    token = "0123456789abcdef" * 2
    (tmp_path / "token").write_text(token)
    ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    with a_cluster(**ours) as guarded:
        arguments = ("--address", guarded.address, "--actors", "1")
        code, refused = run_stage(project, "caption", *arguments)
        assert code == 1
        assert "asks for a token" in refused
        shutil.rmtree(project / ".opendet" / "tiny" / "caption", ignore_errors=True)
        code, said = run_stage(project, "caption", *arguments, **ours)
        assert code == 0, said
        logs = [path for path in guarded.folder.rglob("*.log") if path.is_file()]
        assert logs
        assert not [path for path in logs if token.encode() in path.read_bytes()]
        assert token not in said


def test_more_actors_than_the_cluster_has_room_for(
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Those that find a place do all the work, and what the others wait for is said."""
    monkeypatch.setattr(actors, "PLACE_SECONDS", 0.5)
    caplog.set_level(logging.INFO, logger="opendet")
    stage = world.stage(world.Captioner(seconds=0.3))
    with ray_session(2, cluster.head):
        ran = run(stage, world.tasks(6), WorkFolder(tmp_path / "ray"), actors=4)
    alone = run(world.stage(), world.tasks(6), WorkFolder(tmp_path / "here"), actors=0)
    assert ran.manifest == alone.manifest
    assert "actors wait for a place: each asks for 1 CPU, 0 GPU; free" in caplog.text


def test_the_cluster_file_is_one_that_ray_takes() -> None:
    """It asks for tokens on all nodes, and keeps actors from the node that must not die."""
    # Ray has no other place for the check that `ray up` makes.
    from ray.autoscaler._private.util import prepare_config, validate_config

    file = yaml.safe_load((ROOT / "configs" / "cluster" / "ray-cluster.yaml").read_text())
    config = prepare_config(file)
    validate_config(config)
    head, worker = config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]
    assert "RAY_AUTH_MODE=token" in head
    assert "RAY_AUTH_MODE=token" in worker
    assert "--num-cpus=0" in head
    assert "RAY_USAGE_STATS_REPORT_URL=http://127.0.0.1:9 " in head
    assert all("--disable-usage-stats" in command for command in (head, worker))
    assert "~/.ray/auth_token" in config["file_mounts"]


def test_a_job_is_told_to_report_nothing_and_is_told_no_secret(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SWITCHES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "hf_secret")
    told = _variables(Build.open(root=project))
    assert SWITCHES.items() <= told.items()
    assert "hf_secret" not in told.values()
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")  # somebody wants it
    assert _variables(Build.open(root=project))["RAY_USAGE_STATS_ENABLED"] == "1"


def test_nobody_listens(project: Path) -> None:
    began = time.monotonic()
    address = f"http://127.0.0.1:{free_port()}"
    code, said = run_stage(project, "caption", "--address", address)
    assert code == 1
    (line,) = said.splitlines()
    assert line.startswith(f"no Ray job server answers at {address}: [Errno")
    assert "or mend the address" in line
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>a web page</html>", "no Ray job server answers"),
        (b'{"authentication_mode": "token"}', "asks for a token: set RAY_AUTH_MODE=token"),
    ],
)
def test_who_else_may_answer(project: Path, body: bytes, reason: str) -> None:
    with answering(body) as address, pytest.raises(ValueError, match=reason):
        submit_stage("pipelines.caption", Build.open(root=project), address)


def test_a_cluster_without_tokens_is_refused_before_it_gets_ours(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setattr("opendet.cluster._is_loopback", lambda host: False)
    reason = "is open to everybody: start the cluster with token"
    body = b'{"authentication_mode": "disabled"}'
    with answering(body) as address, pytest.raises(ValueError, match=reason):
        submit_stage("pipelines.caption", Build.open(root=project), address)


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """The address of a server that says the same to whatever it is asked."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("address", ["head:8265", "ray://head:10001", "http://", "head", "auto"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ValueError, match="it looks like http://head:8265"):
        check_address(address)


def test_an_address_holds_no_password() -> None:
    with pytest.raises(ValueError, match="holds no user name or password") as raised:
        check_address("https://me:secret@head:8265")
    assert "secret" not in str(raised.value)


def test_who_may_be_open_to_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(INSECURE_VARIABLE, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    for address in ("http://127.0.0.1:8265", "http://localhost:8265", "http://[::1]:8265"):
        check_address(address)
    for address in ("http://10.0.0.7:8265", "https://head.example", "http://127.0.0.1.example"):
        with pytest.raises(ValueError, match="RAY_AUTH_MODE is not `token`: start the cluster"):
            check_address(address)
    monkeypatch.setenv(INSECURE_VARIABLE, "1")
    check_address("http://10.0.0.7:8265")
    monkeypatch.delenv(INSECURE_VARIABLE)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    check_address("http://10.0.0.7:8265")
