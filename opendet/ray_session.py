"""Ray's beginning and end, and how it says that a process is gone.

A local Ray is private, on loopback, and asks no other machine for anything.
"""

import logging
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def ray_session(cpus: int, address: str = "", *, keep_actors: bool = False) -> Iterator[None]:
    """A private local Ray on loopback that ends with the block, or a cluster's own.

    Inside a Ray job `address` is "auto". Ray's logs and bars are silenced: the run's progress is
    ours. Within `one_ray` a session goes on to the next one instead of ending, and its actors wait
    for the next stage: whoever has another use for their CPUs sends them away (not `keep_actors`).
    """
    if not keep_actors:
        _resting.clear()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not address:
        # A private Ray lives as long as this process and needs no token file. With clusters off,
        # it takes 127.0.0.1 for its node's address, and each of its servers binds to that alone.
        os.environ["RAY_AUTH_MODE"] = "disabled"
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray

    if not ray.is_initialized():
        _start_ray(cpus, address)
    try:
        yield
    finally:
        if not _shared_by_stages:
            ray.shutdown()


@contextmanager
def one_ray() -> Iterator[None]:
    """Let all sessions of the block share one Ray, begun by the first that needs it."""
    global _shared_by_stages
    _shared_by_stages = True
    try:
        yield
    finally:
        _shared_by_stages = False
        _resting.clear()
        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()


def rest(actors: Iterable[Any]) -> None:
    """Within `one_ray`: let actors that have done a stage's shards wait for the next stage's.

    A process takes a second of CPU time to begin. Who holds a handle keeps an actor, and what it
    booked.
    """
    if _shared_by_stages:
        _resting.extend(actors)


def take_rested(count: int) -> list[Any]:
    """At most so many of the actors that wait; the others go."""
    taken = _resting[:count]
    _resting.clear()
    return taken


_shared_by_stages = False
_resting: list[Any] = []


def _start_ray(cpus: int, address: str) -> None:
    import ray

    silent: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    if address:
        ray.init(address=address, **silent)
    else:
        cpus = max(cpus, os.cpu_count() or 1)  # a later stage of the session may book more
        with _without_its_server():
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, **silent)
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray puts one in its place that dumps its stack


@contextmanager
def _without_its_server() -> Iterator[None]:
    """Without a dashboard, Ray begins the dashboard's server for its usage report alone. Where
    reports are switched off too, that one still asks the cloud's metadata service where it runs.
    """
    from ray._private import node

    kind: Any = node.Node
    start = getattr(kind, "start_api_server", None)
    if start is None:  # another version of Ray, whose inside we do not know
        yield
        return
    kind.start_api_server = _begin_nothing
    try:
        yield
    finally:
        kind.start_api_server = start


def _begin_nothing(_: object, **__: object) -> None:
    pass


def answer(promised: Any, died: str) -> Any:
    """What a remote function gave back, or raised: its own error, as if it had been called here.

    Raises ChildProcessError, saying `died`, where its process went each time that Ray began it.
    """
    import ray
    from ray.exceptions import RayTaskError

    try:
        return ray.get(promised)
    except RayTaskError as error:
        raise error.cause from None
    except deaths() as error:
        raise ChildProcessError(
            f"{died}, each time that Ray began it: look at the machine's memory"
        ) from error


def deaths() -> tuple[type[Exception], ...]:
    """How Ray says that a process is gone, or what it had made: by itself, with its node, or ended
    by Ray where the node ran out of memory."""
    from ray.exceptions import (
        NodeDiedError,
        ObjectLostError,
        OutOfMemoryError,
        RayActorError,
        WorkerCrashedError,
    )

    return (RayActorError, WorkerCrashedError, NodeDiedError, ObjectLostError, OutOfMemoryError)
