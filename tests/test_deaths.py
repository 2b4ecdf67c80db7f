"""What is said when a process dies, whoever ended it."""

import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from opendet.flow import run_whole
from opendet.ray_session import ray_session
from opendet.work import WorkFolder


@pytest.fixture(scope="module")
def ray_of_one() -> Iterator[None]:
    with ray_session(cpus=1):
        yield


def dies(folder: Path) -> Mapping[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def test_a_whole_that_dies_each_time_is_one_line(tmp_path: Path, ray_of_one: None) -> None:
    work = WorkFolder(tmp_path)
    with pytest.raises(ChildProcessError, match=r"^clip: its process died, each time") as raised:
        run_whole("clip", "f0", dies, {}, work, cpus=1)
    assert "\n" not in str(raised.value)


def test_a_whole_that_dies_once_is_begun_again(tmp_path: Path, ray_of_one: None) -> None:
    tried = tmp_path / "tried"

    def dies_once(folder: Path) -> Mapping[str, Any]:
        if not tried.exists():
            tried.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        (folder / "model").write_text("whole")
        return {}

    ran = run_whole("clip", "f0", dies_once, {}, WorkFolder(tmp_path / "work"), cpus=1)
    assert "model" in ran.manifest.parts[0].files
