"""Processes that share work: results in order, and an end at once when somebody presses Ctrl-C."""

import math
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from opendet.inspect.in_processes import in_processes
from tests.cli_world import ROOT

PROGRAM = """
import time
from opendet.inspect.in_processes import in_processes

if __name__ == "__main__":
    try:
        with in_processes(time.sleep, [60] * 4, 2) as asked:
            print("begun", flush=True)
            asked[0].result()
    except KeyboardInterrupt:
        print("ended", flush=True)
"""


def test_results_come_in_order_and_a_failure_is_raised() -> None:
    with in_processes(math.sqrt, [4.0, 9.0, -1.0], 1) as asked:
        assert [one.result() for one in asked[:2]] == [2.0, 3.0]
        with pytest.raises(ValueError, match="math domain"):
            asked[2].result()


def test_a_terminal_s_ctrl_c_is_heard_by_the_first_process_alone() -> None:
    with in_processes(signal.raise_signal, [signal.SIGINT], 1) as asked:
        assert asked[0].result() is None
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_ends_processes_that_only_begin_without_a_word_of_theirs(tmp_path: Path) -> None:
    """As a terminal sends it: to all of them."""
    (tmp_path / "program.py").write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=30) == ("ended\n", "")
    finally:
        with suppress(ProcessLookupError):  # none is left where all went well
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
