"""`opendet.ordered_map` over the processes of Ray."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from opendet.ordered_map import AHEAD, OrderedMap, map_on_threads
from opendet.ray_session import answer, ray_session

T = TypeVar("T")
R = TypeVar("R")

DIED = "a worker of Ray died"


@contextmanager
def ordered_map(actors: int, address: str = "", *, threads: int = 1) -> Iterator[OrderedMap]:
    """A map over Ray for the block; over threads of this process where there are no actors."""
    if actors == 0:
        yield partial(map_on_threads, threads=threads)
    else:
        with ray_session(actors, address):
            yield partial(map_on_ray, workers=actors)


def map_on_ray(function: Callable[[T], R], items: Sequence[T], *, workers: int) -> Iterator[R]:
    """The function of each item, in the items' order, from at most so many processes at once.

    Each works on one thread, so that what it makes hangs on its item alone. One that dies is begun
    anew by Ray; what the function raises is raised here.
    """
    import ray

    remote: Any = ray.remote(num_cpus=1)(_on_one_thread)
    what = ray.put(function)
    running: list[Any] = []
    begun: deque[Any] = deque()
    for item in items:
        if len(running) == workers:
            _, running = ray.wait(running, num_returns=1)
        running.append(remote.remote(what, item))
        begun.append(running[-1])
        # Behind a slow item no more than so many results wait in memory.
        while begun and (begun[0] not in running or len(begun) > AHEAD * workers):
            yield answer(begun.popleft(), DIED)
    while begun:
        yield answer(begun.popleft(), DIED)


def _on_one_thread(function: Callable[[T], R], item: T) -> R:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        return function(item)
