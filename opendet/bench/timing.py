"""Which of two is faster, on a machine that others use too."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians over the rounds."""

    ours: float
    """Seconds."""
    theirs: float
    ratio: float
    """The median of each round's ours / theirs: what slows a round slows both."""


def compare(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    rounds: int = 5,
    settle: Callable[[], None] = lambda: None,
) -> Comparison:
    """Time both in alternating rounds after one untimed call each.

    `settle` waits until all that was begun is done, such as `torch.cuda.synchronize`.
    """
    assert rounds > 0
    seconds(ours, settle)
    seconds(theirs, settle)
    pairs = []
    for turn in range(rounds):
        if turn % 2:
            second = seconds(theirs, settle)
            pairs.append((seconds(ours, settle), second))
        else:
            first = seconds(ours, settle)
            pairs.append((first, seconds(theirs, settle)))
    return Comparison(
        median(a for a, _ in pairs), median(b for _, b in pairs), median(a / b for a, b in pairs)
    )


def seconds(work: Callable[[], object], settle: Callable[[], None] = lambda: None) -> float:
    """How long one call takes."""
    settle()
    start = time.perf_counter()
    work()
    settle()
    return time.perf_counter() - start
