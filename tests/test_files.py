"""Files that are whole or as they were, folders that change places, and a lock with its owner."""

import ctypes
import errno
import fcntl
import hashlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from opendet import files
from opendet.files import (
    BusyError,
    begin_writeback,
    canonical_json,
    exchange,
    exclusive_lock,
    fsync_path,
    require_folder_place,
    sha256_of,
    sweep_unfinished,
    write_durably,
    write_json_durably,
)
from tests.recorded_steps import recorded_steps


def two_folders(tmp_path: Path) -> tuple[Path, Path]:
    new, old = tmp_path / "new", tmp_path / "old"
    for folder in (new, old):
        folder.mkdir()
        (folder / "told").write_text(folder.name)
    return new, old


@pytest.mark.parametrize("in_one_step", [True, False])
def test_folders_change_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_one_step: bool
) -> None:
    if not in_one_step:
        monkeypatch.setattr(files, "_exchanged", lambda *_: False)
    new, old = two_folders(tmp_path)
    exchange(new, old)
    assert (new / "told").read_text() == "old"
    assert (old / "told").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


def test_who_reads_meanwhile_finds_one_of_them(tmp_path: Path) -> None:
    new, old = two_folders(tmp_path)
    found: list[str] = []
    ended = Event()

    def read() -> None:
        while not ended.is_set():
            found.append((old / "told").read_text())

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        for _ in range(2000):
            exchange(new, old)
        ended.set()
        reading.result()
    assert set(found) <= {"new", "old"}
    assert found


def test_what_cannot_change_places_is_told_with_its_name(tmp_path: Path) -> None:
    new, _ = two_folders(tmp_path)
    ctypes.set_errno(errno.EACCES)  # of an earlier call
    with pytest.raises(OSError, match=os.strerror(errno.ENOENT)) as raised:
        exchange(new, tmp_path / "gone")
    assert raised.value.filename == str(tmp_path / "gone")


def test_relative_paths_are_below_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, old = two_folders(tmp_path)
    monkeypatch.chdir(tmp_path)
    for paths in ((Path("new"), old), (new, Path("old"))):
        before = (old / "told").read_text()
        exchange(*paths)
        assert (new / "told").read_text() == before


def renameat2_that(number: int) -> Callable[..., SimpleNamespace]:
    """A C library whose renameat2 fails with an error's number."""

    def renameat2(*_: object) -> int:
        ctypes.set_errno(number)
        return -1

    return lambda *_, **__: SimpleNamespace(renameat2=renameat2)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, None])
def test_a_system_without_the_one_step_takes_three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    library = SimpleNamespace if number is None else renameat2_that(number)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: library())
    new, old = two_folders(tmp_path)
    exchange(new, old)
    assert (new / "told").read_text() == "old"
    assert (old / "told").read_text() == "new"


def test_an_exchange_that_is_refused_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", renameat2_that(errno.EACCES))
    new, old = two_folders(tmp_path)
    with pytest.raises(PermissionError) as raised:
        exchange(new, old)
    error = raised.value
    assert (error.strerror, error.filename) == (os.strerror(errno.EACCES), str(old))
    assert (old / "told").read_text() == "old"


def test_a_hash_and_a_text_are_the_ones_that_others_make(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "abc") == known
    assert canonical_json({"b": [1], "a": "ü"}) == '{\n "a": "ü",\n "b": [\n  1\n ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(math.nan)
    write_json_durably(tmp_path / "x.json", {"ü": 1})
    assert (tmp_path / "x.json").read_bytes() == '{\n "ü": 1\n}\n'.encode()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path, bytes]]:
    return recorded_steps(monkeypatch)


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, steps: list[tuple[str, Path, bytes]]
) -> None:
    path = tmp_path / "deep" / "down" / "x.json"
    for content in (b"old", b"new" * 5000):
        write_durably(path, content)
        assert path.read_bytes() == content
        (_, temporary, _), *_ = steps
        assert steps == [
            ("fsync", temporary, content),
            ("rename", temporary, content),
            ("fsync", path.parent, b""),
        ]
        assert temporary.parent == path.parent
        assert temporary.name.startswith(".x.json."), "hidden, and who finds it knows whose it is"
        assert list(path.parent.iterdir()) == [path]
        steps.clear()


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_file_can_be_read_by_all_whatever_the_mask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_durably(tmp_path / "x", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("step", ["fchmod", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no room"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    def failing(*_: object) -> None:
        raise error

    path = tmp_path / "x"
    write_durably(path, b"old")
    monkeypatch.setattr(Path if step == "replace" else os, step, failing)
    with pytest.raises(type(error)):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_behind_the_rename_is_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def interrupted(path: Path, target: Path) -> None:
        replace(path, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_durably(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new"


def test_a_disk_that_cannot_be_read_is_told_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise OSError(errno.EIO, "no disk")

    (tmp_path / "x").write_bytes(b"x")
    monkeypatch.setattr(hashlib, "file_digest", failing)
    with pytest.raises(OSError, match="no disk") as raised:
        sha256_of(tmp_path / "x")
    assert raised.value.filename == str(tmp_path / "x")


def test_an_fsync_keeps_no_descriptor_even_if_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: int) -> None:
        raise OSError(errno.EIO, "no disk")

    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    fsync_path(tmp_path)
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="no disk"):
        fsync_path(tmp_path)
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


def test_a_place_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to(tmp_path)
    for fine in (tmp_path, tmp_path / "new" / "deep", tmp_path / "link", tmp_path / "link" / "new"):
        require_folder_place(fine)
    for place in (tmp_path / "file", tmp_path / "gone"):
        for folder in (place, place / "new" / "deep"):
            said = f"{folder} cannot be a folder, {place} is none: name another place"
            with pytest.raises(ValueError, match=f"^{said}$"):
                require_folder_place(folder)


@contextmanager
def held_by_another(path: Path, told: str) -> Iterator[None]:
    """A lock that somebody holds who has written `told` into it."""
    with path.open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        holder.write(told)
        holder.flush()
        yield


def test_a_lock_tells_its_owner_and_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lock"
    path.parent.mkdir()
    path.write_text("a longer text of one who is dead")
    with exclusive_lock(path, what="toy"):
        assert path.read_text() == str(os.getpid())
        said = f"toy is being built by process {os.getpid()}: wait for it, or end it"
        with pytest.raises(BusyError, match=f"^{said}$"), exclusive_lock(path, what="toy"):
            pass
    with exclusive_lock(tmp_path / "new" / "lock", what="toy"), exclusive_lock(path, what="toy"):
        pass
    alive = os.getppid()
    with held_by_another(path, f" {alive}\n"), pytest.raises(BusyError, match=f"ess {alive}: wait"):
        exclusive_lock(path, what="toy").__enter__()


@pytest.mark.parametrize("before", ["one who is dead", "99999999999999999999", "{dead}"])
def test_the_owner_before_is_not_taken_for_this_one(tmp_path: Path, before: str) -> None:
    """The new one has the lock already, and has yet to say so."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    told = before.format(dead=ended.pid)
    with (
        held_by_another(tmp_path / "lock", told),
        pytest.raises(BusyError, match="built, by another process"),
    ):
        exclusive_lock(tmp_path / "lock", what="toy").__enter__()


HOLDER = """
import os, signal, sys
from pathlib import Path
from opendet.files import exclusive_lock
with exclusive_lock(Path(sys.argv[1]), what="toy"):
    forked = os.fork()
    if forked == 0:
        print(os.getpid(), flush=True)
    signal.pause()
"""


def test_a_lock_dies_with_its_holder_and_not_with_what_that_has_forked(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        forked = int(holder.stdout.readline())
        try:
            with pytest.raises(BusyError), exclusive_lock(path, what="toy"):
                pass
            holder.kill()
            holder.wait()
            with exclusive_lock(path, what="toy"):
                os.kill(forked, 0)
        finally:
            os.kill(forked, signal.SIGKILL)


def test_bringing_a_file_to_the_disk_is_begun_where_the_system_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, asked = tmp_path / "x", list[Any]()
    path.write_bytes(b"x")
    begin_writeback(path)

    def begin(handle: int, start: Any, count: Any, how: int) -> None:
        held = Path(f"/proc/self/fd/{handle}").readlink()
        asked.append((held, start.value, count.value, how))

    system = SimpleNamespace(sync_file_range=begin)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: system if name is None else None)
    begin_writeback(path)
    assert asked == [(path, 0, 0, 2)], "the whole file, and no waiting"
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    begin_writeback(path)
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError):
        begin_writeback(tmp_path / "none")
    monkeypatch.setattr(os, "close", broken := Mock(side_effect=OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken") as raised:
        begin_writeback(path)
    monkeypatch.undo()
    os.close(broken.call_args.args[0])
    assert raised.value.filename == str(path)


def test_what_killed_writes_left_is_swept_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.json", ".gitignore", ".a.json", ".keep.me", "a.json.abcdefgh"):
        (tmp_path / name).write_text("")
    before = set(tmp_path.iterdir())
    monkeypatch.setattr(Path, "replace", None)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    with pytest.raises(TypeError):
        write_durably(tmp_path / "a.json", b"new")
    monkeypatch.undo()
    assert len(set(tmp_path.iterdir()) - before) == 1
    sweep_unfinished(tmp_path)
    assert set(tmp_path.iterdir()) == before
    sweep_unfinished(tmp_path / "none")


def test_an_owner_has_a_moment_to_say_who_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pauses = tmp_path / "lock", list[float]()
    monkeypatch.setattr(time, "sleep", pauses.append)
    with held_by_another(path, ""):
        said = "toy is being built, by another process: wait for it, or end it"
        with pytest.raises(BusyError, match=f"^{said}$"):
            exclusive_lock(path, what="toy").__enter__()
        assert pauses[0] == 0, "who has said it is not waited for"
        assert 0.2 < sum(pauses) < 1
        pauses.clear()

        def say_it(seconds: float) -> Any:
            pauses.append(seconds)
            path.write_text(f"{os.getppid()}" if len(pauses) == 3 else "")

        monkeypatch.setattr(time, "sleep", say_it)
        with pytest.raises(BusyError, match=f"by process {os.getppid()}: wait"):
            exclusive_lock(path, what="toy").__enter__()
        assert len(pauses) == 3
