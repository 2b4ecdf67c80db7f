"""Folders that change places, in one step or in three."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from opendet import files
from opendet.files import exchange


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
    with pytest.raises(OSError, match=os.strerror(errno.ENOENT)) as raised:
        exchange(new, tmp_path / "gone")
    assert raised.value.filename == str(tmp_path / "gone")
