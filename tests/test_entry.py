"""The stages' programs: who is sent to a cluster, and what a user reads who mistyped."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from opendet.build import Build
from tests.cli_world import ROOT, SCENES, make_project

PROBE = """
from opendet.entry import module_of

def main(build):
    pass

if __name__ == "__main__":
    print(main.__module__, module_of(main))
"""


def run_module(
    folder: Path, *arguments: str, **variables: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_job_runs_the_program_by_its_own_name(tmp_path: Path) -> None:
    """A program that is the main one calls itself `__main__`, which a cluster cannot run."""
    (tmp_path / "probes").mkdir()
    (tmp_path / "probes/probe.py").write_text(PROBE)
    assert run_module(tmp_path, "probes.probe").stdout.split() == ["__main__", "probes.probe"]


def test_a_stage_that_makes_one_thing_says_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(make_project(tmp_path / "project", SCENES))
    build = Build.open("tiny", actors=0)

    def make(folder: Path) -> dict[str, int]:
        (folder / "page.html").write_text("a page")
        return {"pages": 1}

    for told in ("is made", "is up to date"):
        with caplog.at_level("INFO", logger="opendet"):
            build.run_whole("report", "f0", inputs={"a": "1"}, make=make)
        assert caplog.messages[-1] == f"report: datasets/tiny/report {told}"


def test_a_mistyped_build_and_address_are_one_line(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", SCENES)
    ended = run_module(project, "pipelines.source", "--build", "tny")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "the configurations here: tiny" in line
    ended = run_module(project, "pipelines.source", OPENDET_RAY_ADDRESS="head:8265")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "it looks like http://head:8265" in line
