"""The objectives that a configuration asks for beside detection and naming.

Each is a file of its own; here they get what they learn from.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from opendet.model.captioner import Captioner
from opendet.model.detector import OpenDetector
from opendet.model.prototype_set import PrototypeSet
from opendet.train.deco_objective import DecoObjective
from opendet.train.distributed import Ranks
from opendet.train.llmdet_objective import LlmdetObjective
from opendet.train.recipe import Recipe
from opendet.train.region_vectors import RegionVectors
from opendet.train.seen import FurtherObjective
from opendet.train.semantic_sources import SemanticSources, require_one_clip
from opendet.train.signals import SignalRecorder
from opendet.train.text_vectors import TextTower, TextVectors, vectors_of

SIGNALS = "signals"
"""Where a run's folder keeps what training saw of its labels."""


@dataclass(frozen=True)
class Teachers:
    """What names and queries are compared with in training."""

    clip: TextTower | None
    template: str
    """The text that stands for a name."""
    text: TextVectors | None
    """Of all names that are taught."""
    pool: PrototypeSet | None = None
    """As the stage `prototypes` made it, where the detector has a prototype head."""
    semantics: SemanticSources | None = None
    """Where it and the regions' vectors lie, likewise."""


def further_objectives(
    recipe: Recipe,
    folder: Path,
    detector: OpenDetector,
    teachers: Teachers,
    *,
    start: int,
    ranks: Ranks,
) -> list[FurtherObjective]:
    """In the order in which they are added, going on after step `start`. What is worked out once,
    and what they write, is kept in `folder`.

    Raises ValueError, in one line, where what they learn from does not fit.
    """
    further: list[FurtherObjective] = []
    if isinstance(detector.captioner, Captioner):
        further.append(LlmdetObjective(detector.captioner, recipe.objective.llmdet))
    if detector.prototypes is not None:
        further.append(_deco(recipe, folder, detector, teachers))
    if recipe.train.signals:
        same = recipe.objective.align_threshold
        signals = folder / SIGNALS
        further.append(
            SignalRecorder(signals, start=start, config=recipe.train, ranks=ranks, same=same)
        )
    return further


def agreement_of(
    further: Sequence[FurtherObjective],
) -> Callable[[Tensor, Sequence[str | None]], Tensor] | None:
    """What the detection loss of a detector without an aligner asks of the semantic predictor,
    where that reads queries: prompts are made for few of them."""
    heads = (one for one in further if isinstance(one, DecoObjective))
    return next((one.agreement for one in heads if one.head.config.reads == "query"), None)


def _deco(
    recipe: Recipe, folder: Path, detector: OpenDetector, teachers: Teachers
) -> DecoObjective:
    head, config = detector.prototypes, recipe.objective.deco
    assert head is not None
    assert teachers.pool is not None
    assert teachers.semantics is not None
    taught = teachers.text.names if teachers.text is not None else ()
    classes = vectors_of(
        tuple(dict.fromkeys((*taught, *config.novel_names))),
        teachers.clip,
        template=teachers.template,
        kept_in=folder / "class_vectors.safetensors",
    )
    if classes is None or classes.matrix.shape[1] != teachers.pool.width:
        told = "there are none" if classes is None else f"they are {classes.matrix.shape[1]} wide"
        raise ValueError(
            f"the pool is {teachers.pool.width} wide; of the names' vectors {told}: build embed "
            "and prototypes again with the CLIP of the stage clip"
        )
    device = head.prototypes.device
    crops = RegionVectors.open(teachers.semantics.vectors, folder / "region_vectors")
    if crops.width == teachers.pool.width:  # else the objective says so
        require_one_clip(teachers.semantics.pool, crops)
    return DecoObjective(
        head,
        teachers.pool.of_levels(detector.config.prototypes.levels).vectors.to(device),
        crops,
        classes.to(device),
        config,
        steps=recipe.train.steps,
    )
