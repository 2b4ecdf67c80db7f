"""A function over many items, several at once, its results in the items' order.

What is added up in that order has the same bytes with any number of workers. `opendet.ray_map` is
the same over Ray.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2
"""Items begun for each worker, so that no result has to wait long to be fetched."""


class OrderedMap(Protocol):
    """The function must hang on its item alone, and survive pickling."""

    def __call__(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]: ...


def map_on_threads(
    function: Callable[[T], R], items: Sequence[T], *, threads: int = 1
) -> Iterator[R]:
    """For functions that let go of the interpreter, as products of matrices do."""
    begun: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            begun.append(pool.submit(function, item))
            if len(begun) > AHEAD * threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
