"""What the report shows, in types; `report_gather` fills them from a build's folder.

Whatever a build does not have yet is None or empty, and the page says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opendet import stage_order
from opendet.curate.pool import Level, Prototype
from opendet.evaluation.predictions import ImagePrediction
from opendet.pools.figures import Figure
from opendet.record import Record

Vectors = NDArray[np.floating[Any]]

STAGES = tuple(stage for stage in stage_order.STAGES if stage != "report")
"""Those that the page speaks of: all but its own."""


@dataclass(frozen=True, slots=True)
class StageLedger:
    """The ledger of one stage: in = out + dropped + quarantined."""

    stage: str
    samples_in: int
    samples_out: int
    dropped: dict[str, int]
    """Reason -> images."""
    quarantined: dict[str, int]
    """First line of the error -> images."""
    tally: dict[str, int] = field(default_factory=dict)
    """What else the stage counted, such as `refused.too_small`."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One number of the training, by step."""

    name: str
    points: tuple[tuple[float, float], ...]
    """(step, value)"""


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """Everything that the page is made from, its pictures aside."""

    build: str
    title: str = ""
    """As the source's card says."""
    ledgers: tuple[StageLedger, ...] = ()
    """In the order of the stages."""
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Stage -> what it measured; may be nested."""
    records: tuple[Record, ...] = ()
    """As the last data stage that there is left them."""
    predictions: tuple[ImagePrediction, ...] = ()
    curves: tuple[Curve, ...] = ()
    pool: tuple[Prototype, ...] = ()
    """Coarse ones, then fine ones."""
    pool_vectors: Mapping[Level, Vectors] = field(default_factory=dict)
    """(P, D) unit rows of each level, in the prototypes' order."""
    pool_figures: tuple[Figure, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Stage -> how long it took."""
    versions: Mapping[str, str] = field(default_factory=dict)
    procedural: bool = False
    """Whether the images were drawn by a program."""
