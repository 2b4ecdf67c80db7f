"""Processes that train together on this machine, as torchrun starts them."""

import os
import signal
import socket
import traceback
from collections.abc import Callable

from opendet.train.distributed import Ranks, joined


def together(world: int, work: Callable[[Ranks], object]) -> list[int]:
    """Run `work` on so many ranks; their exit statuses, 0 for each that came to its end."""
    return ended(begin(world, work))


def begin(world: int, work: Callable[[Ranks], object]) -> list[int]:
    """Process ids, rank 0 first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [_fork(rank, world, port, work) for rank in range(world)]


def ended(processes: list[int]) -> list[int]:
    return [os.waitpid(process, 0)[1] for process in processes]


def kill(processes: list[int]) -> None:
    for process in processes:
        os.kill(process, signal.SIGKILL)


def _fork(rank: int, world: int, port: int, work: Callable[[Ranks], object]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        with joined("cpu") as ranks:
            work(ranks)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
