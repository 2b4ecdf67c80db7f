"""From the words that a detector says to the classes that a data set knows.

N detections, C classes, D text width, K classes kept of a detection. The protocol is GenerateU's
(Lin et al. 2024), which Open-Det follows: the beams of a detection are joined to one text, its
embedding is compared with every class name's, and the detection is counted for its best K classes
with score times similarity.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from opendet.evaluation.ap import Predictions
from opendet.evaluation.tables import Floats, Integers

TextEncoder = Callable[[Sequence[str]], NDArray[np.floating]]
"""N texts -> (N, D) unit vectors of the judge, a CLIP text tower."""

_LONGEST = 75  # Characters of the joined beams, before the article is added: as in GenerateU.


def joined(beams: Sequence[str]) -> str:
    """The one text that stands for all beams of a detection, before the template."""
    return ", ".join(beams)[:_LONGEST]


def first(beams: Sequence[str]) -> str:
    """The text of the best beam alone."""
    return joined(beams[:1])


def in_template(text: str, template: str) -> str:
    return template.replace("{name}", text)


def embed_texts(encode: TextEncoder, texts: Iterable[str]) -> dict[str, Floats]:
    """Text -> (D,) unit vector, each different text encoded once: detectors repeat themselves."""
    unique = list(dict.fromkeys(texts))
    if not unique:
        return {}
    vectors = np.asarray(encode(unique), np.float64)
    assert len(vectors) == len(unique), (vectors.shape, len(unique))
    return dict(zip(unique, vectors, strict=True))


def class_probabilities(texts: Floats, classes: Floats, temperature: float) -> Floats:
    """(N, D), (C, D) unit vectors -> (N, C): softmax of temperature times cosine over classes."""
    if not len(texts):
        return np.zeros((0, len(classes)))
    logits = temperature * (texts @ classes.T)
    logits -= logits.max(1, keepdims=True)
    weights = np.exp(logits)
    return np.asarray(weights / weights.sum(1, keepdims=True))


def best_classes(probabilities: Floats, top: int) -> Integers:
    """(N, C) -> (N, K) class numbers, the most probable first; ties keep the classes' order."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    return order[:, :top].astype(np.int64)


def classified(
    boxes_xyxy: Floats, scores: Floats, probabilities: Floats, *, top: int
) -> Predictions:
    """One image's detections, each counted for its `top` classes: (N,) becomes (N * K,)."""
    classes = best_classes(probabilities, top)
    kept = np.take_along_axis(probabilities, classes, axis=1)
    return Predictions(
        boxes_xyxy=np.repeat(boxes_xyxy, classes.shape[1], axis=0),
        scores=(scores[:, None] * kept).reshape(-1),
        classes=classes.reshape(-1),
    )
