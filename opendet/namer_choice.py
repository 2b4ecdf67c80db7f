"""Which namer names: what the configuration asks for, as far as the model has the parts for it."""

from dataclasses import dataclass
from typing import Literal

import torch

from opendet.model.cascade_namer import CascadeNamer
from opendet.model.detector import OpenDetector
from opendet.model.naming import Namer, Objects, ScoredName
from opendet.model.prototype_head import PrototypeHead
from opendet.model.prototype_namer import PrototypeNamer
from opendet.model.t5_namer import T5Namer
from opendet.model.vocabulary import Vocabulary
from opendet.model.vocabulary_namer import VocabularyNamer
from opendet.predict_config import CERTAINTY_TEMPERATURE, PredictConfig

Kind = Literal["t5", "prototypes", "vocabulary", "cascade"]


@dataclass(frozen=True, slots=True)
class ChosenNamer:
    """A namer, and what a detector must know to use it."""

    kind: Kind
    namer: Namer
    reads_prompts: bool
    """Of every object, so that they are read for all of them at once."""
    joins_score: bool
    """Whether the first name's probability is part of the object's score."""

    def name(self, objects: Objects, *, count: int, at_once: int) -> list[list[ScoredName]]:
        """As every namer does, `at_once` objects at a time."""
        places = torch.arange(len(objects), device=objects.queries.device)
        parts = (objects.part(piece) for piece in torch.split(places, at_once))
        return [names for part in parts for names in self.namer.name_objects(part, count=count)]


def wants_t5(config: PredictConfig, vocabulary: Vocabulary | None) -> bool:
    """Whether a T5 is to be loaded where there is one: other namers do without, and leave it on the
    disk."""
    given = bool(config.names) or vocabulary is not None
    return config.namer in ("t5", "cascade") or (config.namer == "auto" and not given)


def choose_namer(
    detector: OpenDetector, config: PredictConfig, vocabulary: Vocabulary | None
) -> ChosenNamer:
    """The namer of a loaded detector. Raises ValueError, in one line, where it lacks a part."""
    kind = _kind(detector, config, vocabulary)
    namer: Namer
    match kind:
        case "t5":
            namer = _t5(detector)
        case "prototypes":
            namer = PrototypeNamer(_head(detector), only=config.names)
        case "vocabulary":
            namer = _of_vocabulary(detector, config, vocabulary)
        case "cascade":
            first = PrototypeNamer(_head(detector), temperature=CERTAINTY_TEMPERATURE)
            then = _t5(detector)
            namer = CascadeNamer(first, then, unsure_below=config.unsure_below)
    by_prompts = isinstance(namer, VocabularyNamer) and namer.by == "prompts"
    return ChosenNamer(kind, namer, kind == "t5" or by_prompts, _joins(kind, config))


def require_same_tower(vocabulary: Vocabulary, told: object) -> None:
    """`told`: what a model's card says of the text tower of its training, revision and template.
    Raises ValueError where the vocabulary is of another tower; a card may tell nothing."""
    trained = str(told or "none").partition(" ")[0]
    if trained not in ("none", vocabulary.tower):
        raise ValueError(
            f"the vocabulary was written with the text tower {vocabulary.tower}, the model was "
            f"trained with {trained}: write it with the tower of the model's build"
        )


def _kind(detector: OpenDetector, config: PredictConfig, vocabulary: Vocabulary | None) -> Kind:
    if config.namer != "auto":
        return config.namer
    if vocabulary is not None:
        return "vocabulary"
    if config.names and detector.prototypes is None:
        raise ValueError(_NO_VECTORS)
    if config.names or not isinstance(detector.namer, T5Namer):
        return "prototypes"
    return "t5"


_NO_VECTORS = (
    "names: their text vectors are missing, and a model's folder has no text encoder: write them "
    "once with `opendet vocabulary NAMES --build BUILD --out FILE`, and give FILE as vocabulary"
)


def _joins(kind: Kind, config: PredictConfig) -> bool:
    if config.score == "auto":
        return kind in ("prototypes", "vocabulary")
    return config.score == "named"


def _t5(detector: OpenDetector) -> T5Namer:
    if not isinstance(detector.namer, T5Namer):
        raise ValueError(
            "the model has no T5 that could write names (namer.t5: none): take namer prototypes or "
            "vocabulary"
        )
    return detector.namer


def _head(detector: OpenDetector) -> PrototypeHead:
    if detector.prototypes is None:
        raise ValueError(
            "the model has no prototypes to name by (detector.semantics: none): take namer "
            "vocabulary, or t5 where it has one"
        )
    return detector.prototypes


def _of_vocabulary(
    detector: OpenDetector, config: PredictConfig, vocabulary: Vocabulary | None
) -> VocabularyNamer:
    if vocabulary is None:
        raise ValueError(_NO_VECTORS)
    return VocabularyNamer(detector, vocabulary.only(config.names), config.vocabulary_by)
