"""What is under a checkpoint's name is whole, whatever was killed meanwhile."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from opendet.train import checkpoint
from opendet.train.checkpoint import Checkpoint, load_latest, save
from tests.recorded_steps import recorded_steps


def _checkpoint(step: int) -> Checkpoint:
    tensors = {"a": torch.full((3, 4), float(step)), "b": torch.tensor(step)}
    return Checkpoint(step, tensors, {"loader": {"position": step}})


def _equal(first: Checkpoint | None, second: Checkpoint) -> bool:
    return (
        first is not None
        and first.step == second.step
        and first.state == second.state
        and first.tensors.keys() == second.tensors.keys()
        and all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)
    )


def test_round_trip_and_only_the_last_ones_stay(tmp_path: Path) -> None:
    assert load_latest(tmp_path / "new") is None
    for step in (0, 5, 10, 100):
        save(tmp_path, _checkpoint(step), keep=2)
        assert _equal(load_latest(tmp_path), _checkpoint(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-00000010.json",
        "step-00000010.safetensors",
        "step-00000100.json",
        "step-00000100.safetensors",
    ]


def test_tensors_are_on_the_disk_before_they_have_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = recorded_steps(monkeypatch)
    save(tmp_path, _checkpoint(1), keep=2)
    (_, tensors, _), *_ = steps
    (_, record, _) = steps[3]
    assert tensors.name.startswith(".step-00000001.safetensors.")
    assert record.name.startswith(".step-00000001.json.")
    told = ((path, tmp_path / path.name.rpartition(".")[0][1:]) for path in (tensors, record))
    assert steps == [
        step
        for path, final in told
        for step in (
            ("fsync", path, final.read_bytes()),
            ("rename", path, final.read_bytes()),
            ("fsync", tmp_path, b""),
        )
    ]


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
@pytest.mark.parametrize("how", ["flip", "cut", "missing", "empty"])
def test_a_damaged_last_one_gives_way_to_the_one_before(
    tmp_path: Path, suffix: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, _checkpoint(1), keep=2)
    save(tmp_path, _checkpoint(2), keep=2)
    path = tmp_path / f"step-00000002{suffix}"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {"flip": bytes(content), "cut": bytes(content[:-1]), "empty": b""}
    path.unlink() if how == "missing" else path.write_bytes(damaged[how])
    if suffix == ".json" and how in ("flip", "cut"):
        path.write_bytes(content[: len(content) // 2])  # a flip or a last byte may be only a space
    assert _equal(load_latest(tmp_path), _checkpoint(1))
    assert ("step-00000002" in caplog.text) == (suffix == ".safetensors" or how != "missing")
    save(tmp_path, _checkpoint(2), keep=2)
    assert _equal(load_latest(tmp_path), _checkpoint(2))


def test_all_damaged_is_an_error_and_not_a_new_start(tmp_path: Path) -> None:
    save(tmp_path, _checkpoint(1), keep=2)
    (tmp_path / "step-00000001.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="every checkpoint"):
        load_latest(tmp_path)


def test_a_full_disk_names_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, _checkpoint(1), keep=2)

    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match=r"make room and run again: '.*step-00000002\.safetensors'"):
        save(tmp_path, _checkpoint(2), keep=2)
    assert len(list(tmp_path.iterdir())) == 2
    assert _equal(load_latest(tmp_path), _checkpoint(1))


@pytest.mark.parametrize(
    "stride", [6, pytest.param(1, marks=pytest.mark.slow)], ids=["some lines", "each line"]
)
def test_killed_at_any_line_of_a_save(tmp_path: Path, stride: int) -> None:
    """A child kills itself at the n-th line of the save, for more and more lines until it ends."""
    line = 0
    outcomes = set()
    through = False
    while not through:
        folder = tmp_path / str(line)
        save(folder, _checkpoint(1), keep=2)
        save(folder, _checkpoint(2), keep=2)
        through = _run_in_child(lambda: save(folder, _checkpoint(3), keep=2), line=line)  # noqa: B023
        last = load_latest(folder)
        assert _equal(last, _checkpoint(2)) or _equal(last, _checkpoint(3)), f"line {line}"
        assert last is not None
        outcomes.add(last.step)
        save(folder, _checkpoint(4), keep=2)
        assert _equal(load_latest(folder), _checkpoint(4))
        assert len(list(folder.iterdir())) == 4, "a killed save leaves nothing behind for good"
        line += stride
    assert line > 50
    assert outcomes == {2, 3}


def _run_in_child(work: Callable[[], None], *, line: int) -> bool:
    """Whether the child finished before its `line`-th line in the code under test."""
    child = os.fork()
    if child == 0:
        seen = 0

        def count(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal seen
            file = frame.f_code.co_filename
            if not file.endswith(("checkpoint.py", "files.py", "manifest.py", "torch.py")):
                return None
            if event == "line":
                if seen == line:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen += 1
            return count

        sys.settrace(count)
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return status == 0
