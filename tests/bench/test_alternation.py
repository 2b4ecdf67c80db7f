"""Rounds alternate, threads are counted, and ratios are of each round."""

import time
from concurrent.futures import ThreadPoolExecutor
from mmap import PAGESIZE, mmap

import pytest

from opendet.bench.alternation import Spent, alternate, cost, per, spent_of, times, wall_times


def test_every_way_comes_once_untimed_then_in_turns() -> None:
    calls: list[str] = []
    ways = {name: lambda name=name: calls.append(name) for name in "abc"}
    spent = spent_of(alternate(ways, rounds=3))
    assert "".join(calls) == "abc" + "abc" + "cba" + "abc"
    assert [(name, len(one.cpu), len(one.wall)) for name, one in spent.items()] == [
        (name, 3, 3) for name in "abc"
    ]


def test_work_of_threads_counts_and_waiting_does_not() -> None:
    def busy() -> None:
        with ThreadPoolExecutor(1) as threads:
            threads.submit(sum, range(3_000_000)).result()

    spent = spent_of(alternate({"busy": busy, "waiting": lambda: time.sleep(0.02)}, rounds=1))
    assert spent["busy"].cpu[0] > spent["waiting"].cpu[0]
    assert spent["waiting"].wall[0] >= 0.02


def test_memory_is_what_a_way_adds() -> None:
    def large() -> None:
        with mmap(-1, 50_000_000) as fresh:  # never from what was freed before
            for page in range(0, len(fresh), PAGESIZE):
                fresh[page] = 1

    spent = spent_of(alternate({"large": large}, rounds=1))
    assert spent["large"].megabytes >= 45


def test_ratios_by_hand() -> None:
    ours, theirs = Spent((1.0, 2.0, 1.0), (1.0, 1.0, 4.0), 0), Spent((3.0, 4.0, 2.0), (2, 3, 4), 0)
    assert times(theirs, ours) == 2.0  # of 3, 2, 2
    assert times(theirs, ours, ours) == 1.0
    assert wall_times(theirs, ours) == 2.0  # of 2, 3, 1
    assert per(ours, 10) == pytest.approx(1e5)
    assert cost(ours, 10) == "1e+05 us (1e+05 to 2e+05), wall 1e+05"
    assert cost(ours, 1, unit="s") == "1 s (1 to 2), wall 1"
