"""How long this process has lived: what a person waits for, with imports and the interpreter."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from opendet.console import say_wrong

Tell = Callable[[str], None]
"""Hears what has just happened."""


def teller(*, wanted: bool) -> Tell:
    """What says on stderr how long after the start of the process a thing was done, or nothing."""
    return _tell if wanted else _keep_still


def process_age() -> float:
    """Seconds since this process began, to a hundredth; where no /proc says so, those that it
    computed."""
    try:
        fields = Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()
    except OSError:
        return time.process_time()
    began = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # after boot: the stat's 22nd field
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began


def _tell(what: str) -> None:
    say_wrong(f"{what} {process_age():.2f} s after the process began, interpreter and all")


def _keep_still(_: str) -> None:
    pass
