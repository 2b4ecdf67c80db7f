"""Results come in the order of the items, and an error comes through."""

import time
from functools import partial

import pytest

from opendet.ordered_map import map_on_threads


def slow_at_first(item: int) -> int:
    time.sleep(0.02 if item == 0 else 0)
    return item * item


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_in_order(threads: int) -> None:
    squares = list(map_on_threads(slow_at_first, range(20), threads=threads))
    assert squares == [number * number for number in range(20)]
    assert list(map_on_threads(slow_at_first, [], threads=threads)) == []


def test_few_are_begun_before_the_first_is_taken() -> None:
    begun: list[int] = []
    results = map_on_threads(begun.append, range(100), threads=2)
    next(results)
    assert len(begun) < 10
    results.close()  # type: ignore[attr-defined]


def test_an_error_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_on_threads(partial(divmod, 1), [1, 0, 2]))
