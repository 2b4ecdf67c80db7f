"""Small data sets, stores in memory, and a store whose Nth request goes wrong."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fsspec.implementations.memory import MemoryFileSystem

from opendet.object_store.fetch import fetch
from opendet.object_store.pointer import CURRENT
from opendet.object_store.store import Store
from tests.shard_world import publish as write_shards
from tests.shard_world import samples

Fault = Literal["refused", "torn", "unanswered"]
"""Nothing happens; half of it is written; it happens, and nobody learns of it."""
REQUESTS = ("info", "find", "cat_file", "pipe_file", "put_file", "get_file", "open")


def two_versions(folder: Path) -> tuple[Path, Path]:
    """Shards of one build, before and after it grew: two shards stay, one is replaced, one new."""
    everything = samples(10)
    old = {f"a-{n:06d}": everything[n * 3 : n * 3 + 3] for n in range(3)}
    new = {**old, "a-000002": everything[6:8], "a-000003": everything[8:]}
    write_shards(folder / "old", old)
    write_shards(folder / "new", new)
    return folder / "old", folder / "new"


def memory_store() -> Store:
    """An empty one of its own."""
    file_system = MemoryFileSystem(global_store=False, skip_instance_cache=True)
    return Store("memory://data", file_system, "/data")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def as_seen(store: Store, folder: Path) -> dict[str, bytes]:
    """What a reader finds who comes now."""
    fetch(store, folder, transfers=1)
    return contents(folder)


@dataclass
class Faulty:
    """A file system whose request `fails_at`, from 0, goes wrong in the way of `fault`."""

    inner: Any
    fails_at: int
    fault: Fault = "refused"
    asked: int = 0

    def __getattr__(self, name: str) -> Any:
        request = getattr(self.inner, name)
        if name not in REQUESTS:
            return request

        def counted(*arguments: Any, **options: Any) -> Any:
            number, self.asked = self.asked, self.asked + 1
            if number != self.fails_at:
                return request(*arguments, **options)
            self._half_do(name, request, *arguments, **options)
            raise OSError(f"request {number}, {name}, went wrong")

        return counted

    def _half_do(self, name: str, request: Any, *arguments: Any, **options: Any) -> None:
        if self.fault == "unanswered":
            with suppress(FileNotFoundError):
                request(*arguments, **options)
        # One short request is whole or is not there, on all stores that the promise is made for.
        elif self.fault == "torn" and not any(str(one).endswith(CURRENT) for one in arguments):
            if name == "pipe_file":
                place, content = arguments
                request(place, content[: len(content) // 2])
            if name == "put_file":
                path, place = arguments
                content = Path(path).read_bytes()
                self.inner.pipe_file(place, content[: len(content) // 2])


def failing(store: Store, fails_at: int, fault: Fault = "refused") -> tuple[Store, Faulty]:
    """The same place, seen through a connection that breaks."""
    faulty = Faulty(store.file_system, fails_at, fault)
    return replace(store, file_system=faulty), faulty


def copied(store: Store) -> Store:
    """An independent store of the same objects."""
    other = memory_store()
    for place in store.file_system.find(store.root):
        other.file_system.pipe_file(place, store.file_system.cat_file(place))
    return other


STEPS = ("fsync", "link", "replace", "rename", "unlink", "rmdir")


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do some work in a process of its own, and kill it at that step, from 0, of those that change
    a disk. Whether it came so far."""
    child = os.fork()
    if child == 0:
        _count_down(step)
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or status == 0, "it failed where it was to die"
    return os.WIFSIGNALED(status)


def _count_down(last: int) -> None:
    left = [last]

    def counted(step: Any) -> Any:
        def taken(*arguments: Any, **options: Any) -> Any:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return step(*arguments, **options)

        return taken

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))
