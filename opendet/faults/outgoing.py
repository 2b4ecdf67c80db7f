"""What programs ask of other machines, as the kernel sees it."""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import opendet
from opendet.telemetry import SWITCHES

LOOPBACK = re.compile(r"127\.|::1$|::ffff:127\.|0\.0\.0\.0$|::$")
ADDRESS = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
"""As strace writes those of IPv4 and of IPv6."""
NAMES = "htons(53)"
"""The port of name servers."""
NOT_A_USERS = ("HF_HUB_OFFLINE", "PYTHONPATH", *SWITCHES)
"""Variables by which tests and developers keep programs from asking."""


def traced(command: Sequence[str], folder: Path, trace: Path) -> str:
    """Run a program in a folder, as a user begins it; the connections and packets of all that it
    begins, a line each."""
    own = {name: value for name, value in os.environ.items() if name not in NOT_A_USERS}
    calls = ("-e", "trace=connect,sendto,sendmsg,sendmmsg")
    ran = subprocess.run(
        ["strace", "-f", "-qq", "--seccomp-bpf", *calls, "-o", str(trace), *command],
        cwd=folder,
        env={**own, "PYTHONPATH": str(Path(opendet.__file__).parents[1]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return trace.read_text(errors="replace")


def addressed(trace: str) -> list[str]:
    """The lines of a trace that speak of an address, this machine's own among them."""
    return [line for line in trace.splitlines() if ADDRESS.search(line)]


def foreign(trace: str) -> list[str]:
    """Of them, those of an address which is not this machine's own, and those that ask for a name:
    a resolver on this machine asks others."""
    return [
        line
        for line in addressed(trace)
        if NAMES in line
        or any(not LOOPBACK.match(one or two) for one, two in ADDRESS.findall(line))
    ]
