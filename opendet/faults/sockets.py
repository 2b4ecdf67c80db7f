"""What a local run listens on, and whom a build and a training ask."""

import sys

from opendet.faults.outgoing import addressed, foreign, traced
from opendet.faults.rows import Effort, Shown, Tally
from opendet.faults.syscalls import missing
from opendet.faults.toy_project import make_training_project
from opendet.ray_session import ray_session

LOOPBACK = ("127.0.0.1", "::1")
PROGRAMS = {
    "a build on Ray": ("data", "build", "--until", "shards", "--actors", "1"),
    "a training": ("data", "build", "train"),
}
"""One after the other, in one project."""


def off_loopback(effort: Effort) -> Shown:
    """Every socket that a run listens on, and every program that it consists of."""
    if why := missing():
        return Shown(0, 0, "", unmeasured=why)
    tally, told, sent = Tally(), [], 0
    for _ in effort.tries(3, least=1):
        _listen(tally)
    sockets, project = tally.tries, make_training_project(effort.folder / "p")
    for name, arguments in PROGRAMS.items():
        command = [sys.executable, "-m", "opendet.cli", *arguments]
        trace = traced(command, project, effort.folder / "trace")
        away = foreign(trace)
        tally.add(f"{name}: {len(away)} such as {away[0]}" if away else "")
        told.append(f"{name} {len(addressed(trace))}")
        sent += len(away)
    return tally.shown(
        f"{sockets} sockets that listen; connections and packets: {', '.join(told)}; "
        f"{sent} of them to other machines"
    )


def _listen(tally: Tally) -> None:
    """A try is a listening socket of a local run's processes, Ray's own among them: a Ray that
    listens nowhere is one that was not looked at."""
    import psutil

    before = tally.tries
    with ray_session(cpus=2):
        me = psutil.Process()
        for process in (me, *me.children(recursive=True)):
            for one in process.net_connections(kind="inet"):
                if one.status == psutil.CONN_LISTEN:
                    address = one.laddr.ip.removeprefix("::ffff:")
                    tally.add("" if address in LOOPBACK else f"{process.name()}: {address}")
    if tally.tries == before:
        tally.add("no socket was seen to listen")
