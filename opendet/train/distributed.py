"""Processes that train one model together: each has a rank, and its own share of every batch.

torchrun and Ray Train start them. All hold equal weights and do equal steps; rank 0 leads, and it
alone writes what lasts.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from opendet.devices import named_device

T = TypeVar("T")

PATIENCE = timedelta(hours=4)
"""So long may a rank wait for the others: rank 0 encodes all names while they do."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """Where this process stands among those that train with it; alone by default."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        """Until all ranks have come here."""
        if self.world > 1:
            distributed.barrier()

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """Rank 0 runs the block before the others do, so that they find what it has made."""
        if not self.leads:
            self.wait()
        yield
        if self.leads:
            self.wait()

    def led(self, value: T) -> T:
        """Rank 0's value, on every rank."""
        if self.world == 1:
            return value
        told: list[Any] = [value]
        distributed.broadcast_object_list(told)
        answer: T = told[0]
        return answer

    def all_of(self, value: T) -> list[T]:
        """Every rank's value, in the ranks' order."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value)
        return values

    def mean(self, values: Tensor) -> Tensor:
        """Of all ranks' values, element by element."""
        if self.world == 1:
            return values
        total = values.clone()
        distributed.all_reduce(total)
        return total / self.world

    def parallel(self, step: nn.Module) -> nn.Module:
        """The module whose gradients are the mean of all ranks' ones.

        Every trainable parameter must get one at every step: looking for those that did not would
        cost a walk through the graph.
        """
        return DistributedDataParallel(step) if self.world > 1 else step


def without_sync(module: nn.Module) -> AbstractContextManager[None]:
    """In the block, gradients add up on each rank alone."""
    if isinstance(module, DistributedDataParallel):
        return module.no_sync()
    return nullcontext()


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """This process among those that torchrun started with it; alone where nobody did.

    `device` is `auto` for a GPU of its own where there is one, else the CPU. Raises ValueError
    where another rank has ended in the block.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    own = device_of(device)
    if world == 1:
        yield Ranks(own)
        return
    if own.type == "cuda":
        torch.cuda.set_device(own)
    distributed.init_process_group(backend_of(own), timeout=PATIENCE)
    rank = distributed.get_rank()
    try:
        yield Ranks(own, rank, world)
    except RuntimeError as error:
        if "by peer" not in str(error):  # gloo's words for a rank that has gone
            raise
        raise ValueError(f"rank {rank} lost another rank, whose own line says why") from error
    finally:
        distributed.destroy_process_group()


def follows() -> bool:
    """Whether torchrun started this process as a rank that does not lead."""
    return int(os.environ.get("RANK", "0")) > 0


def backend_of(device: torch.device) -> str:
    """GPUs talk by NCCL; what a CPU holds, such as a message, goes by gloo."""
    return "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"


def device_of(name: str) -> torch.device:
    """A device by name, of the GPUs this process's own. Raises ValueError where there is none."""
    return own_gpu(named_device(name))


def own_gpu(device: torch.device) -> torch.device:
    """A GPU without a number is that of this process's place on its machine."""
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return device
