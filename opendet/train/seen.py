"""What a step has come to, for the objectives that add to it, and what those are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from opendet.data.batch import Batch
from opendet.model.detector import OpenDetector
from opendet.model.outputs import DetectorOutput
from opendet.train.distributed import Ranks
from opendet.train.matching import Matches
from opendet.train.naming_losses import Lessons, Named
from opendet.train.normalise import Cost
from opendet.train.randomness import StepDraws
from opendet.train.text_vectors import TextVectors
from opendet.train.truths import Truths


@dataclass(frozen=True, slots=True)
class Seen:
    """A batch, what the detector made of it, and which query learned from which object."""

    detector: OpenDetector
    output: DetectorOutput
    batch: Batch
    truths: Truths
    match: Matches
    """Of the last decoder layer, one to one; `match.targets` index an image's objects."""
    named: Named
    """The objects that were named in this step."""
    lessons: Lessons
    """What became of them."""
    text: TextVectors | None
    """The teacher's vectors of all names that training teaches."""
    draws: StepDraws


class FurtherObjective(Protocol):
    """Losses beside those of detection and naming; `Objective` weighs and adds them."""

    def weights(self, step: int) -> Mapping[str, float]:
        """Of each of its parts at a step counted from 0."""
        ...

    def costs(self, seen: Seen) -> Mapping[str, Cost]:
        """The same parts at every step and on every rank, those without a lesson with a count of 0
        and a sum of 0 that still leads to every weight that it trains."""
        ...

    def before_update(self, step: int, detector: nn.Module) -> None:
        """When a step's gradients are there, on every rank, before they are clipped."""
        ...

    def finish_step(self, step: int, ranks: Ranks) -> None:
        """After the optimizer's step `step`, counted from 0, on every rank."""
        ...
