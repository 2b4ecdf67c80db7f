"""Sockets and connections: one that leaves the machine is a problem of the program that made it."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from opendet.faults import sockets
from opendet.faults.outgoing import foreign
from opendet.faults.rows import Effort, Tally
from opendet.faults.sockets import PROGRAMS
from opendet.faults.syscalls import WITHOUT
from opendet.faults.toy_project import make_training_project
from opendet.yaml_file import read_yaml

OWN = '1 connect(3, {sa_family=AF_INET, sin_addr=inet_addr("127.0.0.1")}, 16) = 0\n'
AWAY = '1 connect(3, {sa_family=AF_INET, sin_addr=inet_addr("192.0.2.1")}, 16) = 0\n'


RESOLVER = (
    "1 sendto(3, 0x1, 9, 0, {sa_family=AF_INET, sin_port=htons(53), "
    'sin_addr=inet_addr("127.0.0.53")}, 16) = 9\n'
)


def test_a_name_that_is_asked_for_leaves_the_machine() -> None:
    assert foreign(OWN) == []
    assert foreign(OWN + RESOLVER) == [RESOLVER.strip()]
    assert foreign(AWAY) == [AWAY.strip()]


@pytest.mark.parametrize(
    ("listening", "problems"),
    [
        ([], ["no socket was seen to listen"]),
        (["127.0.0.1", "::ffff:127.0.0.1", "::1"], []),
        (["127.0.0.1", "0.0.0.0"], ["ray: 0.0.0.0"]),
    ],
)
def test_sockets_are_seen_and_are_on_loopback(
    monkeypatch: pytest.MonkeyPatch, listening: list[str], problems: list[str]
) -> None:
    import psutil

    found = [
        SimpleNamespace(status=psutil.CONN_LISTEN, laddr=SimpleNamespace(ip=ip)) for ip in listening
    ]
    process = SimpleNamespace(
        name=lambda: "ray", children=lambda **_: [], net_connections=lambda **_: found
    )
    monkeypatch.setattr(psutil, "Process", lambda: process)
    monkeypatch.setattr(sockets, "ray_session", lambda **_: nullcontext())
    tally = Tally()
    sockets._listen(tally)
    assert tally.problems == problems
    assert tally.tries == max(1, len(listening))


@pytest.mark.parametrize("away", [False, True])
def test_a_connection_to_another_machine_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    traces = iter([2 * OWN, OWN + AWAY if away else OWN])
    monkeypatch.setattr(sockets, "missing", lambda: "")
    monkeypatch.setattr(sockets, "_listen", lambda tally: tally.add(""))
    monkeypatch.setattr(sockets, "make_training_project", lambda root: root)
    monkeypatch.setattr(sockets, "traced", lambda *_: next(traces))
    shown = sockets.off_loopback(Effort(tmp_path, share=0.1))
    assert shown.tries == 1 + len(PROGRAMS)
    assert shown.holds == (not away)
    assert shown.problems == ((f"a training: 1 such as {AWAY.strip()}",) if away else ())
    assert "a build on Ray 2, a training" in shown.figure
    assert f"{int(away)} of them to other machines" in shown.figure


def test_without_strace_nobody_claims_that_none_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "missing", lambda: WITHOUT)
    shown = sockets.off_loopback(Effort(tmp_path))
    assert shown.unmeasured == WITHOUT
    assert not shown.holds


def test_the_project_is_configured_up_to_a_training(tmp_path: Path) -> None:
    project = make_training_project(tmp_path / "p")
    told = read_yaml(project / "configs" / "toy.yaml")
    assert {"clip", "train", "loader", "detector", "namer"} <= told.keys()
    assert told["namer"]["prompt_width"] == told["clip"]["width"]
    assert len([*(project / "pictures").glob("*.jpg")]) == 6
