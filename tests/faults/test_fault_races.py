"""Builds by other hands: a locale that is not UTF-8 changes no byte, and one that did is seen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from opendet.faults import raced
from opendet.faults.killed import bytes_of, undisturbed
from opendet.faults.rows import Effort
from opendet.faults.toy_build import Settings, command


def test_one_of_the_places_has_ascii_where_nobody_says_otherwise() -> None:
    asked = [sys.executable, "-c", "import locale; print(locale.getpreferredencoding().lower())"]
    told = [
        subprocess.check_output(asked, env={**os.environ, **place}, text=True).strip()
        for place in raced.PLACES
    ]
    assert told == ["utf-8", "utf-8", "ansi_x3.4-1968"]


def test_a_build_without_utf8_has_the_same_bytes(tmp_path: Path) -> None:
    wanted = undisturbed(tmp_path)
    assert any("ü".encode() in content for content in wanted.values())
    told = {**os.environ, **raced.PLACES[-1]}
    subprocess.run(command(tmp_path / "ascii", Settings()), env=told, check=True)
    assert bytes_of(tmp_path / "ascii" / "out") == wanted


def test_other_bytes_are_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raced, "undisturbed", lambda _: {"a": b""})
    monkeypatch.setattr(raced, "command", lambda *_: ["true"])
    shown = raced.equal_bytes(Effort(tmp_path, share=0.01))
    assert shown.good == 0
    assert not shown.holds


@pytest.mark.parametrize(
    ("ended", "problem"),
    [
        ([("", 0), ("toy is being built by process 11: wait", 1)], ""),
        ([("", 0), ("toy is being built by process 7: wait", 1)], "the loser said"),
        ([("", 0), ("", 0)], "both ran"),
        ([("x", 1), ("x", 1)], "ended with [1, 1]"),
    ],
)
def test_how_a_race_may_end(ended: list[tuple[str, int]], problem: str) -> None:
    said = raced._of_race(ended, [11, 12])
    assert said.startswith(problem)
    assert bool(said) == bool(problem)
