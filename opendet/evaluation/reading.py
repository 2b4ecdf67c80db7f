"""Detections read as classes by a judge: a text tower and the vectors of all class names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from opendet.evaluation.ap import Predictions
from opendet.evaluation.class_vectors import encode_classes, require_same_width
from opendet.evaluation.naming import (
    ReadingRule,
    TextEncoder,
    class_cosines,
    class_probabilities,
    classified,
    embed_texts,
    in_template,
)
from opendet.evaluation.predictions import ImagePrediction
from opendet.evaluation.tables import Floats, Integers

# N detections of an image, C classes, D text width


@dataclass(frozen=True, slots=True)
class Reading:
    """One image's detections, read as classes."""

    predictions: Predictions
    """Each detection once for each of its best classes."""
    detections: Integers
    """Which of the N each of the predictions is of."""
    nearest: Integers
    """(N,) the class that each detection's words are most similar to."""


@dataclass(frozen=True, slots=True)
class Judge:
    """What detections are read by."""

    encode: TextEncoder
    classes: Floats
    """(C, D) unit vectors of the class names."""
    template: str
    """The text that stands for the detections' words."""

    @classmethod
    def of(cls, encode: TextEncoder, vocabulary: Sequence[str], template: str) -> "Judge":
        return cls(encode, encode_classes(encode, vocabulary, template), template)

    def read(
        self, predictions: Sequence[ImagePrediction], rules: Sequence[ReadingRule]
    ) -> list[list[Reading]]:
        """The images' readings by each of the rules; no text is encoded twice.

        Raises ValueError where the class vectors are of another width than the tower's.
        """
        texts = [[self._texts(one, rule) for one in predictions] for rule in rules]
        asked = (text for by in texts for image in by for own in image for text in own)
        vectors = embed_texts(self.encode, asked)
        if vectors:
            require_same_width(self.classes, next(iter(vectors.values()))[None])
        return [
            [
                self._read_one(one, own, vectors, rule)
                for one, own in zip(predictions, by, strict=True)
            ]
            for rule, by in zip(rules, texts, strict=True)
        ]

    def _texts(self, one: ImagePrediction, rule: ReadingRule) -> list[list[str]]:
        return [
            [in_template(text, self.template) for text in rule.texts(beams)] for beams in one.names
        ]

    def _read_one(
        self,
        one: ImagePrediction,
        texts: Sequence[Sequence[str]],
        vectors: Mapping[str, Floats],
        rule: ReadingRule,
    ) -> Reading:
        if not texts:
            return Reading(Predictions(), np.zeros(0, np.int64), np.zeros(0, np.int64))
        cosines = class_cosines(texts, vectors, self.classes, rule)
        rows = class_probabilities(cosines, rule.temperature)
        read = classified(one.boxes_xyxy, one.scores, rows, top=rule.top_classes)
        own = np.repeat(np.arange(len(rows)), len(read.scores) // len(rows))
        return Reading(read, own, rows.argmax(1))
