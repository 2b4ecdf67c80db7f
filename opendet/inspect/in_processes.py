"""Processes that share the pieces of a collection, and end at once when nobody waits for them."""

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, TypeVar

Given = TypeVar("Given")
Result = TypeVar("Result")


@contextmanager
def in_processes(
    work: Callable[[Given], Result],
    given: Iterable[Given],
    count: int,
    *,
    begin: Callable[..., None] | None = None,
    begin_with: tuple[Any, ...] = (),
) -> Iterator[list[Future[Result]]]:
    """What each call of `work` will give, in the order of `given`; `begin` is called first, once in
    each process. Whatever is raised within ends the processes in the middle of their work.
    """
    # Spawned, not forked: Arrow has threads, whose locks a fork would copy as they are.
    spawn = multiprocessing.get_context("spawn")
    others = multiprocessing.active_children()
    with ProcessPoolExecutor(count, spawn, begin, begin_with) as pool:
        try:
            with _interrupts_held():
                asked = [pool.submit(work, one) for one in given]
            yield asked
        except BaseException:
            for child in multiprocessing.active_children():
                if child not in others:  # a person who presses Ctrl-C waits for no piece's end
                    child.kill()
            raise


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C comes afterwards. Processes that begin meanwhile never hear it, though it reaches
    every process of a terminal: the first one ends the others, and they have nothing to say."""
    resource_tracker.ensure_running()  # its start would let them through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
