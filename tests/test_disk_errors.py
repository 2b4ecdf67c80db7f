"""A disk that fails halfway: what it says names a file, and nothing half is left for long."""

import errno
import os
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import BPE

from opendet import files
from opendet.files import errors_name, exchange, fsync_path, write_durably
from opendet.manifest import FileStamp
from opendet.schema import write_table
from opendet.work import WorkFolder


@pytest.fixture
def three_renames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_exchanged", lambda *_: False)


def failing_at(number: int) -> Callable[[Path, Path], Path]:
    """A rename that fails at its Nth call, from 1."""
    rename, calls = Path.rename, iter(range(1, 99))

    def renamed(path: Path, target: Path) -> Path:
        if next(calls) == number:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return rename(path, target)

    return renamed


@pytest.mark.usefixtures("three_renames")
@pytest.mark.parametrize(("number", "seen"), [(1, "old"), (2, "old"), (3, "new")])
def test_an_exchange_that_fails_halfway_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, seen: str
) -> None:
    new, target = tmp_path / "work" / "publish-1", tmp_path / "out"
    for folder, told in ((new, "new"), (target, "old")):
        folder.mkdir(parents=True)
        (folder / "told").write_text(told)
    monkeypatch.setattr(Path, "rename", failing_at(number))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        exchange(new, target)
    assert (target / "told").read_text() == seen
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    WorkFolder(tmp_path / "work").sweep()
    assert list((tmp_path / "work").iterdir()) == []


def test_half_a_commit_record_is_swept(tmp_path: Path) -> None:
    """A kill between its bytes and its name."""
    work = WorkFolder(tmp_path)
    commits = tmp_path / "commits"
    commits.mkdir()
    for name in ("b-000000-0a.json", ".b-000001-0b.json.x1y2"):
        (commits / name).write_text("{}")
    work.sweep()
    assert [path.name for path in commits.iterdir()] == ["b-000000-0a.json"]


@pytest.mark.parametrize(
    ("number", "mend"),
    [(errno.ENOSPC, ", make room and run again"), (errno.EIO, ""), (errno.EROFS, "")],
)
@pytest.mark.parametrize("kind", [OSError, SafetensorError], ids=["python", "rust"])
def test_an_error_of_the_disk_names_what_was_written(
    number: int, mend: str, kind: type[Exception]
) -> None:
    said = os.strerror(number)
    error = OSError(number, said) if kind is OSError else kind(f"I/O: {said} (os error {number})")
    with pytest.raises(OSError, match="/a/b") as raised, errors_name(Path("/a/b")):
        raise error
    assert str(raised.value) == f"[Errno {number}] {said}{mend}: '/a/b'"
    assert raised.value.errno == number


@contextmanager
def eight_bytes() -> Iterator[None]:
    """More no file of this process may have: not the one either that pytest's own words go to."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: save_file({"a": np.zeros(9)}, path),
        lambda path: Tokenizer(BPE()).save(str(path)),
    ],
    ids=["safetensors", "tokenizers"],
)
def test_what_is_written_in_rust_says_so_too(tmp_path: Path, write: Callable[[Path], None]) -> None:
    names = errors_name(Path("/a/b"))
    with pytest.raises(OSError, match="/a/b") as raised, eight_bytes(), names:
        write(tmp_path / "x")
    assert raised.value.errno == errno.EFBIG


@pytest.mark.parametrize("said", ["header too large", "No such file or directory (os error 2)"])
def test_an_error_that_is_not_of_the_disk_stays_what_it_is(said: str) -> None:
    with pytest.raises(SafetensorError, match=re.escape(said)), errors_name(Path("/a/b")):
        raise SafetensorError(said)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "full", "/another"),
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        OSError("told in words"),
    ],
)
def test_other_errors_are_as_they_were(error: OSError) -> None:
    before = str(error)
    with pytest.raises(OSError) as raised, errors_name(Path("/a/b")):  # noqa: PT011
        raise error
    assert str(raised.value) == before


def test_writing_and_forcing_to_the_disk_name_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=str(tmp_path / "x")):
        write_durably(tmp_path / "x", b"x")
    with pytest.raises(OSError, match=str(tmp_path)):
        fsync_path(tmp_path)


def test_a_part_names_its_attempt(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        (folder / "a").write_bytes(b"a")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    work = WorkFolder(tmp_path)
    with pytest.raises(OSError, match="attempts/b-000000-"):
        work.write_part("b-000000", write)
    assert list((tmp_path / "attempts").iterdir()) == []
    stamps = work.write_part("b-000000", lambda folder: folder.joinpath("a").touch())
    assert stamps == {"a": FileStamp.of(work.part_folder("b-000000", stamps) / "a")}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_a_table_on_a_full_disk_fails_with_a_number() -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as raised:
        write_table(Path("/dev/full"), pa.table({"a": [1]}))
    assert raised.value.errno == errno.ENOSPC
