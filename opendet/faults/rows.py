"""What a fault is, what showing it came to, and how much of it there is time for."""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 4

MOST_PROBLEMS = 5
"""Of those that are told of a row; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the tries of one fault came to."""

    tries: int
    good: int
    figure: str
    """What was counted, in words."""
    peers: str = ""
    """What others make of the same fault, counted beside us in the same run."""
    problems: tuple[str, ...] = ()
    """One line for each try that was not good, the first few."""
    unmeasured: str = ""
    """Why nothing was tried, and how to mend it."""

    @property
    def holds(self) -> bool:
        """Whether the bar is met: every try was good, and there was one."""
        return self.tries > 0 and self.good == self.tries


@dataclass(frozen=True, slots=True)
class Effort:
    """Where a fault is shown, and how often."""

    folder: Path
    """Of this row alone, empty at first."""
    share: float = 1.0
    """Of the tries that the bar asks for."""
    deadline: float = math.inf
    """By `time.monotonic`: no try begins after it."""

    def tries(self, full: int, *, least: int = 2) -> Iterator[int]:
        """The numbers of the tries, as many as there is time for."""
        for number in range(max(least, round(full * self.share))):
            if time.monotonic() >= self.deadline:
                return
            yield number

    def at_once(self, full: int, work: Callable[[int], T]) -> Iterator[T]:
        """What `work` makes of the number of each try, in order. `AT_ONCE` go on at a time, in
        threads: for work that mostly waits for a process of its own."""

        def in_time(number: int) -> tuple[T] | None:
            return None if time.monotonic() >= self.deadline else (work(number),)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for told in pool.map(in_time, self.tries(full)):
                if told is not None:
                    yield told[0]


@dataclass(frozen=True, slots=True)
class Fault:
    """A row of the table."""

    number: str
    """As faults are numbered in docs/reliability.md."""
    fault: str
    expected: str
    show: Callable[[Effort], Shown]


@dataclass(slots=True)
class Tally:
    """Counts tries as they are made."""

    tries: int = 0
    good: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, problem: str) -> None:
        """One try; `problem` is empty where it was good."""
        self.tries += 1
        self.good += not problem
        if problem and len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)

    def add_all(self, tries: int, *problems: str) -> None:
        """So many tries, of which some were not good."""
        for problem in problems:
            self.add(problem)
        self.tries += tries - len(problems)
        self.good += tries - len(problems)

    def require(self, done: int, least: int, what: str) -> None:
        """A problem more where the tries came to less than they must have."""
        if done < least:
            self.add(f"{done} {what}, at least {least} were to be")

    def shown(self, figure: str, peers: str = "") -> Shown:
        return Shown(self.tries, self.good, figure, peers, tuple(self.problems))
