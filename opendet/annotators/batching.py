"""A model's batches, smaller for as long as a GPU's memory does not hold them."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
Answer = TypeVar("Answer")

log = logging.getLogger(__name__)


def in_batches(
    items: Sequence[T], size: int, ask: Callable[[Sequence[T]], Sequence[Answer]]
) -> list[Answer]:
    """`ask` for batch after batch of `size` items; one answer an item, in order.

    A batch that runs a GPU out of memory is halved, and so are those that follow in this call. A
    single item that does not fit is a ValueError, so that it alone goes to the quarantine.
    """
    answers: list[Answer] = []
    while len(answers) < len(items):
        batch = items[len(answers) : len(answers) + size]
        if (found := _unless_too_large(batch, ask)) is None:
            size = len(batch) // 2
            log.warning("out of the GPU's memory with %d at once: %d from here", len(batch), size)
            continue
        assert len(found) == len(batch), f"{len(found)} answers to {len(batch)} questions"
        answers += found
    return answers


def _unless_too_large(
    batch: Sequence[T], ask: Callable[[Sequence[T]], Sequence[Answer]]
) -> Sequence[Answer] | None:
    """The answers; None where a batch of several does not fit into the GPU's memory."""
    import torch

    try:
        return ask(batch)
    except torch.OutOfMemoryError as error:
        if len(batch) == 1:
            raise ValueError(
                "the GPU's memory does not hold this sample alone: take a smaller image or model, "
                "or a larger share of the GPU (run.gpus)"
            ) from error
    # Outside the handler, so that the error's traceback no longer holds the tensors.
    torch.cuda.empty_cache()
    return None
