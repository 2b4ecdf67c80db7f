"""Names from a list: the text vectors are there beforehand, no text encoder is asked.

N objects, C names, D the detector's width, D_t the text vectors' width.
"""

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional

from opendet.model.naming import Objects, ScoredName, most_likely
from opendet.model.prototype_namer import NAMES
from opendet.model.vocabulary import Vocabulary

if TYPE_CHECKING:
    from opendet.model.detector import OpenDetector

Comparison = Literal["prototypes", "alignment", "prompts"]
"""`prototypes`: DeCo-DETR's semantic predictor, a softmax over the list; `alignment`: the last
decoder layer's aligner (BVLA), a probability of each name by itself, as it was trained; `prompts`:
cosines with the prompts that a T5 would read, a softmax over the list."""

TEMPERATURE = 0.01
"""The cosines of prompts are divided by it, as CLIP's are."""


class VocabularyNamer:
    """The names of a list that objects are most alike."""

    def __init__(
        self,
        detector: "OpenDetector",
        vocabulary: Vocabulary,
        by: Comparison | Literal["auto"] = "auto",
    ) -> None:
        """`auto` takes the first of the comparisons that the detector has the parts for. Raises
        ValueError, in one line, where it lacks them, or for vectors of another width."""
        self.by: Comparison = _first_of(detector) if by == "auto" else by
        self._detector = detector
        self._vocabulary = vocabulary
        width = _width(detector, self.by)
        if vocabulary.width != width:
            raise ValueError(
                f"the vocabulary's vectors are {vocabulary.width} wide, the model compares "
                f"{width} by its {self.by}: write it with the text tower of the model's training"
            )
        self._classes = vocabulary.vectors.to(next(detector.parameters()).device)

    @property
    def names(self) -> tuple[str, ...]:
        """C"""
        return self._vocabulary.names

    @torch.no_grad()
    def name_objects(self, objects: Objects, *, count: int | None = None) -> list[list[ScoredName]]:
        """As every namer does."""
        if not len(objects):
            return []
        return most_likely(self.names, self.log_probs(objects), count or NAMES)

    def log_probs(self, objects: Objects) -> Tensor:
        """(N, C) fp32."""
        match self.by:
            case "prototypes":
                head = self._detector.prototypes
                assert head is not None
                logits = head.class_logits(head(head.read(objects)), self._classes)
                return functional.log_softmax(logits.float(), dim=1)
            case "alignment":
                aligner = self._detector.aligners[-1]
                return functional.logsigmoid(aligner(objects.vectors[None], self._classes[None])[0])
            case "prompts":
                with torch.autocast(self._classes.device.type, enabled=False):
                    cosines = functional.normalize(objects.prompts.float(), dim=1) @ self._classes.T
                return functional.log_softmax(cosines / TEMPERATURE, dim=1)


def _first_of(detector: "OpenDetector") -> Comparison:
    if detector.prototypes is not None:
        return "prototypes"
    return "alignment" if len(detector.aligners) else "prompts"


def _width(detector: "OpenDetector", by: Comparison) -> int:
    """Of the text vectors that can be compared so."""
    if by == "prototypes" and detector.prototypes is None:
        raise ValueError(
            "the model has no prototypes to compare a vocabulary by (detector.semantics): take "
            "alignment or prompts"
        )
    if by == "alignment" and not len(detector.aligners):
        raise ValueError(
            "the model has no aligner to compare a vocabulary by (detector.aligner): take prompts"
        )
    if by == "prototypes":
        assert detector.prototypes is not None
        return detector.prototypes.prototypes.shape[1]
    return detector.namer.prompt_width
