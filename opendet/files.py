"""Durable files: what is there under its final name is whole, whatever was killed meanwhile."""

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

_RENAME_EXCHANGE = 2
_RANGE_WRITE = 2  # SYNC_FILE_RANGE_WRITE: begins, and does not wait
_FULL = {errno.ENOSPC, errno.EDQUOT}
_DISK_ERRORS = {*_FULL, errno.EFBIG, errno.EROFS, errno.EIO}
_IN_RUST = re.compile(r"\(os error (\d+)\)")
_UNFINISHED = re.compile(r"\..+\.[a-z0-9_]{8}")  # as `tempfile` names them
_NO_SIGNAL = 0  # asks whether a process could be sent one
_HERE = -100  # AT_FDCWD: relative paths are below the working folder


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, lower-case hexadecimal."""
    with errors_name(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no NaN, readable Unicode."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


@contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """Let an error of the disk name this file: a full one is met by `write`, which knows no
    names.

    What is written in Rust (safetensors, tokenizers) meets it there, and raises errors that are no
    OSErrors: they become such.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in _DISK_ERRORS:
            error.filename = str(path)
            error.strerror = f"{error.strerror}{_mend(error.errno)}"
        raise
    except Exception as error:
        found = _IN_RUST.search(str(error))
        if found is None or (number := int(found[1])) not in _DISK_ERRORS:
            raise
        raise OSError(number, os.strerror(number) + _mend(number), str(path)) from error


def _mend(number: int | None) -> str:
    return ", make room and run again" if number in _FULL else ""


def fsync_path(path: Path) -> None:
    """Force a file's content, or a folder's entries, to the disk."""
    with errors_name(path):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def begin_writeback(path: Path) -> None:
    """Let the kernel begin to bring a file to the disk, and wait for nothing: an fsync that follows
    has less to wait for. Promises nothing, and does nothing where the system has no such call."""
    begin = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if begin is None:
        return
    with errors_name(path):
        handle = os.open(path, os.O_RDONLY)
        try:
            begin(handle, ctypes.c_int64(0), ctypes.c_int64(0), _RANGE_WRITE)
        finally:
            os.close(handle)


def write_durably(path: Path, content: bytes) -> None:
    """Replace `path` in one step: a reader sees the old bytes or the new, never a mix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with errors_name(path), os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_path(path.parent)


def sweep_unfinished(folder: Path) -> None:
    """Remove what killed calls of `write_durably` left in a folder: for who alone writes there."""
    for path in folder.glob(".*"):
        if _UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)


def exchange(first: Path, second: Path) -> None:
    """Let two files or folders of one file system change places.

    In one step where the system can (Linux, but for some network file systems): nobody ever finds
    either name missing. Elsewhere in three renames, between which the second may be missing; what
    they leave behind when they are killed lies beside the first, as its name with `.aside`.
    """
    if not _exchanged(first, second):
        aside = first.with_name(f"{first.name}.aside")
        second.rename(aside)
        try:
            first.rename(second)
        except OSError:
            aside.rename(second)
            raise
        aside.rename(first)


def _exchanged(first: Path, second: Path) -> bool:
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:  # another system, or an older C library
        return False
    names = os.fsencode(first), os.fsencode(second)
    if renameat2(_HERE, names[0], _HERE, names[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(second))


def require_folder_place(folder: Path) -> None:
    """Raises ValueError, in one line, where something that is no folder stands in its place, or in
    that of one above it."""
    for place in (folder, *folder.parents):
        if os.path.lexists(place) and not place.is_dir():
            raise ValueError(f"{folder} cannot be a folder, {place} is none: name another place")


def write_json_durably(path: Path, value: Any) -> None:
    write_durably(path, canonical_json(value).encode())


class BusyError(ValueError):
    """Somebody else holds the lock."""


@contextmanager
def exclusive_lock(path: Path, *, what: str) -> Iterator[None]:
    """Hold `path` as a lock that the kernel lets go of when this process dies, whatever it has
    forked.

    Raises `BusyError` if another process holds it, with its id where it has written one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+", encoding="utf-8")
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = _owner_in(file)
            by = f" by process {owner}" if owner else ", by another process"
            raise BusyError(f"{what} is being built{by}: wait for it, or end it") from error
        with errors_name(path):
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        _HELD.add(file)
        yield
    finally:
        _HELD.discard(file)
        with errors_name(path):
            file.close()


def _let_go() -> None:
    for file in _HELD:
        file.close()
    _HELD.clear()


# A fork has the lock's descriptor too, and would hold on to it when its parent is dead.
_HELD: set[TextIO] = set()
os.register_at_fork(after_in_child=_let_go)


def _owner_in(file: TextIO) -> str:
    """The process id in a lock that somebody else holds; empty where none comes in a moment: one
    that took it just now has yet to write it, and what stands there is of the one before."""
    for pause in (0.0, 0.05, 0.1, 0.2):
        time.sleep(pause)
        file.seek(0)
        owner = file.read().strip()
        if owner.isdecimal() and _is_alive(int(owner)):
            return owner
    return ""


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, _NO_SIGNAL)
    except (ProcessLookupError, OverflowError):  # the latter of a number that no process has
        return False
    except PermissionError:  # of another user
        return True
    return True
