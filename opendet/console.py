"""What our programs say on a terminal, and the code that they end with."""

import argparse
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

FAILED = 1
INTERRUPTED = 130

# Control characters, and those that turn the direction of writing: a caption or a file's name may
# hold either, and must not steer the terminal that shows it.
_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")


def exit_code_of(work: Callable[[], int]) -> int:
    """The code that `work` returns.

    What the user must mend is one line on stderr, with code 1. Ctrl-C and SIGTERM give 130.
    """
    try:
        return work()
    except KeyboardInterrupt:
        say_wrong("stopped; what is committed stays, run again to go on")
        return INTERRUPTED
    except BrokenPipeError:  # Whoever read our output has seen enough, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (ValueError, OSError) as error:
        say_wrong(str(error) or type(error).__name__)
        return FAILED


def say_wrong(text: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"{' '.join(printable(text).split())}\n")


def minutes(text: str) -> float:
    """A command line's number of minutes, none below 0; `inf` is without an end."""
    value = float(text)  # argparse tells of a ValueError by itself
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text} are no minutes: give 0 or more")
    return value


def printable(text: str) -> str:
    """In one line, without characters that steer a terminal."""
    return _STEERING.sub(" ", text)


def dress_logging() -> None:
    """Log lines by rich on a terminal, plain elsewhere; nothing from libraries below errors."""
    handler: logging.Handler
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.logging import RichHandler

        console = Console(stderr=True)
        handler = RichHandler(console=console, show_path=False, show_time=False, markup=False)
    else:
        handler = logging.StreamHandler()
    logging.basicConfig(level=logging.ERROR, format="%(message)s", handlers=[handler])
    logging.getLogger("opendet").setLevel(logging.INFO)


def interrupt_on_sigterm() -> None:
    """Let SIGTERM end the program as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)


@contextmanager
def remembered_interrupts() -> Iterator[Callable[[], None]]:
    """Ctrl-C and SIGTERM raise KeyboardInterrupt as ever, and none is lost.

    One that comes while Python runs a finalizer, such as that of a closed connection, is printed
    and forgotten by Python. The function that is given raises it again: call it in what waits long.
    """
    came: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    def raise_if_lost() -> None:
        if came:
            raise KeyboardInterrupt

    here = threading.current_thread() is threading.main_thread()  # others cannot have handlers
    signals = (signal.SIGINT, signal.SIGTERM) if here else ()
    before = {one: signal.signal(one, remember) for one in signals}
    try:
        yield raise_if_lost
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
