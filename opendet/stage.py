"""What flow needs to know of a stage: how to read a shard, load the worker, and write a part."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from opendet.manifest import QuarantinedEntry, ShardName
from opendet.sample import Dropped


class Keyed(Protocol):
    """Whatever flows through a stage has a key."""

    @property
    def key(self) -> str: ...


In = TypeVar("In", bound=Keyed)
Out = TypeVar("Out", bound=Keyed)
Worker = Callable[[Sequence[In]], Sequence[Out | Dropped | QuarantinedEntry]]
"""One result a sample, in order: what becomes of it, why it was refused, or why it is to be tried
again later (`opendet data retry`)."""


@dataclass(frozen=True, slots=True)
class Task:
    """One planned shard of a stage's work."""

    shard: ShardName
    inputs: dict[str, str] = field(default_factory=dict)
    """What the part is made from: name, such as `caption/train-000000.parquet` -> sha256. A part
    whose commit record names other inputs is made again."""


@dataclass(frozen=True)
class Stage(Generic[In, Out]):
    """A stage, ready to run on any runner. Everything in it pickles."""

    name: str
    fingerprint: str
    """Of code, parameters and models; names the work folder."""
    read: Callable[[Task], Sequence[In]]
    """The samples of a shard, in the plan's order; cheap, no pixels."""
    load: Callable[[], Worker[In, Out]]
    """Makes the worker, once per actor: this is where a model is loaded."""
    write: Callable[[Path, str, Sequence[Out]], None]
    """Writes a part's files, named `<shard>.*`, into a folder of its own."""
    prepare: Callable[[In], In] | None = None
    """Opens one sample (decodes its image) ahead of the worker, in a thread; may raise."""
    reread: Callable[[Path, str], Sequence[Out]] | None = None
    """What `write` wrote, back; lets `retry` ask again for the quarantined samples only."""
    tally: Callable[[Sequence[Out]], Mapping[str, int]] | None = None
    batch_size: int = 16
    """Samples per call of the worker, counted from the shard's start."""
    gpus: float = 0.0
    """Share of a GPU that each actor books."""
