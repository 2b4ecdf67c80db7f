"""Batches for the trainer: the same ones whatever the number of workers, from any point on.

Each sample comes exactly once an epoch, unless a mixture or repeat factors say otherwise
(`opendet.data.plan`); in mosaics it is joined by others (`opendet.data.mosaic`). Which samples make
step k of epoch e, and how each is augmented, is a function of the seed; workers only decode. A
loader taken up at a position goes on as if nothing had happened, and draws nothing from the global
generators.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch.utils.data import DataLoader, Dataset

from opendet.data.batch import Batch
from opendet.data.collate import padded, scaled
from opendet.data.config import LoaderConfig
from opendet.data.dataset import ExampleSet
from opendet.data.order import Batches, Draw, rank_batches
from opendet.data.transforms import Example

State = dict[str, int | bool]

_Place = tuple[int, Draw]
"""An epoch and one of its draws."""


@dataclass(frozen=True, slots=True)
class Position:
    """The next batch to come."""

    epoch: int = 0
    offset: int = 0
    """Batches of the epoch that have been given out."""


class Loader:
    """Iterating gives what is left of the current epoch and moves on to the next.

    The position counts a batch as done from the moment when it is given out: a state taken while
    a step works on its batch resumes with the next one.
    """

    def __init__(
        self, examples: ExampleSet, config: LoaderConfig, *, rank: int = 0, world: int = 1
    ) -> None:
        """Raises ValueError if there are too few samples for a batch on each rank, or none of a
        source of the mixture."""
        self.position = Position()
        self._count = len(examples)
        self._plan = examples.plan()
        self._config = config
        self._rank, self._world = rank, world
        self._todo: list[list[_Place]] = []
        self.batches_per_epoch = len(self._batches(epoch=0))
        self._batches_of = _data_loader(_Drawn(examples), self._todo, config)

    def __iter__(self) -> Iterator[Batch]:
        epoch, start = self.position.epoch, self.position.offset
        batches = self._batches(epoch)[start:]
        # The list is changed in place: persistent workers keep the sampler that they began with.
        self._todo[:] = [[(epoch, draw) for draw in batch] for batch in batches]
        for offset, batch in enumerate(_scaled(self._batches_of), start + 1):
            done = offset == self.batches_per_epoch
            self.position = Position(epoch + 1, 0) if done else Position(epoch, offset)
            yield batch

    def state_dict(self) -> State:
        """Where the loader is, and what that place is counted in."""
        position = {"epoch": self.position.epoch, "offset": self.position.offset}
        return {**position, **self._counted_in()}

    def load_state_dict(self, state: State) -> None:
        """Go on from a state. Raises ValueError if it was counted in other batches than these."""
        for name, value in self._counted_in().items():
            if state.get(name) != value:
                raise ValueError(
                    f"the checkpoint's loader has {name} {state.get(name)}, this one {value}: "
                    "resume with the settings and the data that it was saved with"
                )
        self.position = Position(int(state["epoch"]), int(state["offset"]))

    def _counted_in(self) -> State:
        return {
            "samples": self._count,
            "draws": self._plan.draws,
            "seed": self._config.seed,
            "batch_size": self._config.batch_size,
            "drop_last": self._config.drop_last,
            "world": self._world,
        }

    def _batches(self, epoch: int) -> Batches:
        return rank_batches(
            self._plan.order(seed=self._config.seed, epoch=epoch),
            batch_size=self._config.batch_size,
            drop_last=self._config.drop_last,
            rank=self._rank,
            world=self._world,
        )


def evaluation_batches(examples: ExampleSet, config: LoaderConfig) -> Iterator[Batch]:
    """Every sample once, in the manifest's order, at the evaluation's size, the last batch too."""
    places = [(0, Draw(index)) for index in range(len(examples))]
    size = config.batch_size
    batches = [places[start : start + size] for start in range(0, len(places), size)]
    yield from _scaled(_data_loader(_Plain(examples), batches, config))


def _scaled(batches: Iterable[Batch]) -> Iterator[Batch]:
    """A worker's ValueError comes wrapped in its traceback: say what it says, and no more."""
    try:
        yield from map(scaled, batches)
    except ValueError as error:
        last_line = str(error).rstrip().rpartition("\n")[2]
        raise ValueError(last_line.removeprefix("ValueError: ")) from error


class _Drawn(Dataset[Example]):
    """Addressed by epoch and draw, so that a worker needs to be told nothing else."""

    def __init__(self, examples: ExampleSet) -> None:
        self._examples = examples

    def __getitem__(self, place: _Place) -> Example:
        epoch, draw = place
        return self._examples.example(draw, epoch=epoch)


class _Plain(_Drawn):
    def __getitem__(self, place: _Place) -> Example:
        return self._examples.plain(place[1].sample)


def _data_loader(
    examples: Dataset[Example], batches: list[list[_Place]], config: LoaderConfig
) -> Iterable[Batch]:
    loader = DataLoader(
        examples,
        batch_sampler=batches,
        num_workers=config.workers,
        collate_fn=partial(padded, multiple=config.multiple),
        persistent_workers=config.workers > 0,
        # Without one of its own it would draw from the global generator, once an epoch.
        generator=torch.Generator(),
    )
    # DataLoader is typed by what a dataset gives; iterating it gives what `padded` makes of that.
    return cast(Iterable[Batch], loader)
