import argparse
import math
import os
import signal

import pytest

from opendet.console import minutes, remembered_interrupts


class _Closing:
    """Gets the signal while it is finalized."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(1000))  # the handler runs between two steps of this


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_forgets_is_raised_again() -> None:
    before = signal.getsignal(signal.SIGINT)
    with remembered_interrupts() as raise_if_lost:
        raise_if_lost()
        thing = _Closing()
        del thing
        with pytest.raises(KeyboardInterrupt):
            raise_if_lost()
    assert signal.getsignal(signal.SIGINT) is before


def test_minutes_are_a_number_that_time_can_reach() -> None:
    assert (minutes("0"), minutes("1.5"), minutes("inf")) == (0, 1.5, math.inf)
    for text in ("-1", "nan"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"{text} are no minutes"):
            minutes(text)
    with pytest.raises(ValueError, match="soon"):
        minutes("soon")


def test_an_interrupt_interrupts() -> None:
    with remembered_interrupts(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
