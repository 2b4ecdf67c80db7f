"""What names are read from, and the one interface of all that read them.

One detector, several namers: a T5 writes a name (`t5_namer`), the nearest prototypes have one
(`prototype_namer`), or a list of names is given (`vocabulary_namer`); `cascade_namer` asks one
after the other. N objects, D the detector's width, D_t the prompts' width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from opendet.model.detector import OpenDetector
    from opendet.model.outputs import DetectorOutput


class ScoredName(NamedTuple):
    """A name and how likely it is, as a logarithm: a T5 says the mean over its tokens, the end
    included; prototypes and vocabularies the probability of the name."""

    text: str
    log_prob: float

    @property
    def probability(self) -> float:
        """In [0, 1]."""
        return math.exp(min(self.log_prob, 0.0))


@dataclass(frozen=True)
class Objects:
    """Queries of a batch that are worth a name."""

    detector: "OpenDetector"
    output: "DetectorOutput"
    images: Tensor
    """(N,) int64, the image of each."""
    queries: Tensor
    """(N,) int64, its query there."""
    read: Tensor | None = None
    """(N, D_t) their prompts, where they have been read already."""

    def __len__(self) -> int:
        return len(self.queries)

    @cached_property
    def prompts(self) -> Tensor:
        """(N, D_t) unit vectors; read at the first use, for some namers do without."""
        if self.read is not None:
            return self.read
        return self.detector.prompt(self.output, self.images, self.queries)

    @cached_property
    def vectors(self) -> Tensor:
        """(N, D) the last layer's queries."""
        return self.output.queries[self.images, self.queries]

    def with_prompts(self) -> "Objects":
        """The same with their prompts read, all at once."""
        return replace(self, read=self.prompts)

    def part(self, places: Tensor) -> "Objects":
        """Those at `places` (int64)."""
        read = None if self.read is None else self.read[places]
        return replace(self, images=self.images[places], queries=self.queries[places], read=read)


class Namer(Protocol):
    """Calls objects by name."""

    def name_objects(self, objects: Objects, *, count: int | None = None) -> list[list[ScoredName]]:
        """For each object its names, the likeliest first, at most `count` of them; how many there
        are where none is given is the namer's own affair."""
        ...


def most_likely(names: Sequence[str], log_probs: Tensor, count: int) -> list[list[ScoredName]]:
    """Of K `names` the `count` likeliest by the rows of log_probs (N, K); ties in their order."""
    top = log_probs.argsort(dim=1, descending=True, stable=True)[:, :count]
    rows = zip(top.tolist(), log_probs.gather(1, top).tolist(), strict=True)
    return [
        [ScoredName(names[place], own) for place, own in zip(*row, strict=True)] for row in rows
    ]
