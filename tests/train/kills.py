"""Kills a training again and again until it ends by itself."""

import os
import random
import signal
import time
from collections.abc import Callable


def kill_until_done(train: Callable[[], object], rng: random.Random, longest: float) -> int:
    """Train in children, each killed after at most `longest` seconds; how many were killed.

    Each gets a little longer than the one before: the child of a large process begins so slowly
    that it might never come to its next checkpoint.
    """
    kills = 0
    while True:
        child = os.fork()
        if child == 0:
            train()
            os._exit(0)
        time.sleep(rng.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return kills
        assert status == signal.SIGKILL
        kills += 1
        longest *= 1.1
