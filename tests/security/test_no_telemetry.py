"""Nothing that runs here tells anybody so: switches, and what the kernel saw of the sockets."""

import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_world import COCO, make_project, run_cli, write_pictures

from opendet.faults.outgoing import NOT_A_USERS, addressed, foreign, traced
from opendet.faults.syscalls import WITHOUT, missing
from opendet.telemetry import SWITCHES, switch_off_telemetry

ROOT = Path(__file__).resolve().parents[2]
CLI = (sys.executable, "-c", "from opendet.cli import main\nmain()")

needs_strace = pytest.mark.skipif(bool(missing()), reason=WITHOUT)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = make_project(tmp_path / "project", COCO)
    write_pictures(made)
    return made


def test_our_programs_switch_it_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SWITCHES:
        monkeypatch.delenv(name, raising=False)
    assert run_cli(tmp_path, "--version").code == 0
    assert {name: os.environ.get(name) for name in SWITCHES} == SWITCHES


def test_a_stages_own_program_switches_it_off(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opendet.entry import run_stages

    for name in SWITCHES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(project)
    seen: list[dict[str, str]] = []
    assert run_stages([lambda build: seen.append(dict(os.environ))], "", 0) == 0
    assert SWITCHES.items() <= seen[0].items()


def test_what_a_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    switch_off_telemetry()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"


def test_the_libraries_are_not_imported_before_the_switches() -> None:
    """They look once, as they are imported."""
    code = (
        "import sys, opendet.cli, opendet.entry\n"
        "print(*{'huggingface_hub', 'ray', 'dvc', 'fiftyone', 'transformers'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (ran.stdout.strip(), ran.returncode) == ("", 0), ran.stderr


def test_the_libraries_heed_the_switches() -> None:
    code = (
        "from opendet.telemetry import switch_off_telemetry as off; off()\n"
        "from huggingface_hub import constants\n"
        "from dvc.analytics import is_enabled\n"
        "from ray._common.usage.usage_lib import usage_stats_enabled\n"
        "print(constants.HF_HUB_DISABLE_TELEMETRY, is_enabled(), usage_stats_enabled())"
    )
    own = {name: value for name, value in os.environ.items() if name not in NOT_A_USERS}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd="/",  # where no .dvc/config says so too
        env={**own, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ran.stdout.split() == ["True", "False", "False"], ran.stderr


def test_the_checkouts_own_dvc_reports_nothing_and_asks_for_no_updates() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / ".dvc" / "config")
    settings = {name.strip(): value for name, value in config["core"].items()}
    assert settings["analytics"] == "false"
    assert settings["check_update"] == "false"


def test_no_service_of_others_is_a_dependency() -> None:
    """Those that send what they see: wandb, and their like, are nobody's default."""
    text = (ROOT / "pyproject.toml").read_text() + (ROOT / "constraints.txt").read_text()
    for name in ("wandb", "comet", "neptune", "clearml", "ultralytics", "sentry", "posthog"):
        assert name not in text, name


def test_a_trace_is_read() -> None:
    lines = (
        '1 connect(3, {sa_family=AF_INET, sin_addr=inet_addr("10.0.0.2")}, 16) = 0',
        '1 connect(3, {sa_family=AF_INET, sin_addr=inet_addr("127.0.0.1")}, 16) = 0',
        '1 connect(3, {sa_family=AF_INET6, inet_pton(AF_INET6, "2001:db8::1", &a)}, 28) = 0',
        '1 connect(3, {sa_family=AF_INET6, inet_pton(AF_INET6, "::1", &a)}, 28) = 0',
        '1 connect(3, {sa_family=AF_UNIX, sun_path="/run/nscd"}, 110) = 0',
    )
    assert addressed("\n".join(lines)) == list(lines[:4])
    assert foreign("\n".join(lines)) == [lines[0], lines[2]]


@needs_strace
def test_a_trace_sees_a_program_that_calls_home(tmp_path: Path) -> None:
    code = (
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"
    )
    assert foreign(traced([sys.executable, "-c", code], tmp_path, tmp_path / "trace"))


@pytest.mark.slow
@needs_strace
@pytest.mark.parametrize(
    "command",
    [
        ("doctor",),
        ("data", "build", "source", "caption", "--actors", "1"),
        ("inspect", "datasets/tiny/source"),
    ],
    ids=["doctor", "build", "inspect"],
)
def test_no_packet_leaves_the_machine(
    project: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    if command[0] == "inspect":
        assert run_cli(project, "data", "build", "source").code == 0
    assert foreign(traced([*CLI, *command], project, tmp_path / "trace")) == []


@pytest.mark.slow
@needs_strace
def test_no_packet_leaves_the_machine_as_pictures_are_looked_at(
    project: Path, tmp_path: Path
) -> None:
    from opendet.train.export import Resize, export_model
    from opendet.train.weights import own_tensors
    from tests.model.worlds import build_detector

    detector = build_detector()
    resize = Resize(shortest=32, longest=64, multiple=32)
    export_model(tmp_path / "model", detector, own_tensors(detector), resize=resize, training={})
    command = ("detect", "pictures/p0.jpg", "--model", str(tmp_path / "model"))
    assert foreign(traced([*CLI, *command], project, tmp_path / "trace")) == []


@pytest.mark.slow
@needs_strace
def test_no_packet_leaves_the_machine_as_dvc_runs_a_stage(tmp_path: Path) -> None:
    """With this checkout's settings, as everybody gets them."""
    (tmp_path / "dvc.yaml").write_text("stages: {one: {cmd: echo 1 > out, outs: [out]}}\n")
    dvc = Path(sys.executable).with_name("dvc")
    subprocess.run([dvc, "init", "--no-scm", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".dvc" / "config").write_text(
        (ROOT / ".dvc" / "config").read_text().replace("[core]", "[core]\n    no_scm = True")
    )
    assert foreign(traced([str(dvc), "repro", "-q"], tmp_path, tmp_path.parent / "trace")) == []
