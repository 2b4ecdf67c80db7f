"""Reading detections as classes, and how good the names are apart from the scores.

N detections of an image, C classes, D text width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from opendet.evaluation.ap import Predictions, Truth
from opendet.evaluation.config import EvaluateConfig
from opendet.evaluation.match import match_boxes
from opendet.evaluation.naming import (
    TextEncoder,
    class_probabilities,
    classified,
    embed_texts,
    in_template,
)
from opendet.evaluation.predictions import ImagePrediction
from opendet.evaluation.tables import Floats, Integers


@dataclass(frozen=True, slots=True)
class Reading:
    """One image's detections, read as classes."""

    predictions: Predictions
    """Each detection once for each of its best classes."""
    nearest: Integers
    """(N,) the class that each detection's words are most similar to."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Text embeddings of all class names, to read detections by."""

    encode: TextEncoder
    classes: Floats
    """(C, D) unit vectors."""
    config: EvaluateConfig

    @classmethod
    def of(cls, encode: TextEncoder, vocabulary: Sequence[str], config: EvaluateConfig) -> "Judge":
        texts = [in_template(name, config.template) for name in vocabulary]
        vectors = embed_texts(encode, texts)
        return cls(encode, np.stack([vectors[text] for text in texts]), config)

    def read(
        self, predictions: Sequence[ImagePrediction], text_of: Callable[[Sequence[str]], str]
    ) -> list[Reading]:
        """`text_of` makes one text of a detection's beams."""
        template = self.config.template
        texts = [
            [in_template(text_of(beams), template) for beams in one.names] for one in predictions
        ]
        vectors = embed_texts(self.encode, (text for image in texts for text in image))
        return [
            self._read_one(one, [vectors[text] for text in image])
            for one, image in zip(predictions, texts, strict=True)
        ]

    def _read_one(self, one: ImagePrediction, vectors: Sequence[Floats]) -> Reading:
        if not vectors:
            return Reading(Predictions(), np.zeros(0, np.int64))
        rows = class_probabilities(np.stack(vectors), self.classes, self.config.temperature)
        read = classified(one.boxes_xyxy, one.scores, rows, top=self.config.top_classes)
        return Reading(read, rows.argmax(1))


@dataclass(frozen=True, slots=True)
class NameQuality:
    """Of the objects that were found at all, how many were named right, by each way to judge."""

    matched: int
    exact: int
    """The first beam is the label, letter case and spacing aside."""
    any_beam: int
    """One of the beams is."""
    similar: int
    """The label is the class that the words are most similar to."""


def name_quality(
    truths: Sequence[Truth],
    predictions: Sequence[ImagePrediction],
    readings: Sequence[Reading],
    vocabulary: Sequence[str],
    match_iou: float,
) -> NameQuality:
    """Judge the names of matched boxes, whatever their score."""
    matched = exact = any_beam = similar = 0
    for truth, one, reading in zip(truths, predictions, readings, strict=True):
        for detection, target in match_boxes(truth, one.boxes_xyxy, match_iou):
            label = _plain(vocabulary[truth.classes[target]])
            beams = [_plain(beam) for beam in one.names[detection]]
            matched += 1
            exact += beams[:1] == [label]
            any_beam += label in beams
            similar += int(reading.nearest[detection] == truth.classes[target])
    return NameQuality(matched, exact, any_beam, similar)


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())
