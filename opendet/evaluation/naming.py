"""From the words that a detector says to the classes that a data set knows.

N detections, C classes, D text width, K classes kept of a detection. The protocol is GenerateU's
(Lin et al. 2024), which Open-Det follows: the beams of a detection are joined to one text, its
embedding is compared with every class name's, and the detection is counted for its best K classes
with score times similarity. A `ReadingRule` says where another reading differs from it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from opendet.evaluation.ap import Predictions
from opendet.evaluation.tables import Floats, Integers

TextEncoder = Callable[[Sequence[str]], NDArray[np.floating]]
"""N texts -> (N, D) unit vectors of the judge, a CLIP text tower."""

BeamsAs = Literal["joined", "first", "mean", "max"]
"""One text of all beams, the best beam alone, or each class's mean or largest cosine over beams."""

_LONGEST = 75  # Characters of the joined beams, before the article is added: as in GenerateU.


@dataclass(frozen=True, slots=True)
class ReadingRule:
    """How a detection's beams are read as classes. The defaults are GenerateU's."""

    beams: BeamsAs = "joined"
    top_classes: int = 15
    temperature: float = 100.0
    """Factor on the cosines before the softmax over all classes."""

    def texts(self, beams: Sequence[str]) -> list[str]:
        """The texts that are encoded, before the template: one, or one for each beam."""
        if self.beams == "joined":
            return [joined(beams)]
        if self.beams == "first":
            return [joined(beams[:1])]
        return [joined([beam]) for beam in beams] or [""]

    def over_beams(self, cosines: Floats) -> Floats:
        """(texts, C) cosines of one detection -> (C,)."""
        return np.asarray(cosines.max(0) if self.beams == "max" else cosines.mean(0))


def alternatives(rule: ReadingRule, temperatures: Iterable[float]) -> dict[str, ReadingRule]:
    """Readings that differ from the rule in one thing each, by what is different."""
    found = {
        "joined": replace(rule, beams="joined"),
        "first": replace(rule, beams="first"),
        "mean": replace(rule, beams="mean"),
        "max": replace(rule, beams="max"),
        "top_1": replace(rule, top_classes=1),
        **{f"temperature_{one:g}": replace(rule, temperature=one) for one in temperatures},
    }
    return {name: other for name, other in found.items() if other != rule}


def joined(beams: Sequence[str]) -> str:
    """The one text that stands for all beams of a detection, before the template."""
    return ", ".join(beams)[:_LONGEST]


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


def class_cosines(
    texts: Sequence[Sequence[str]],
    vectors: Mapping[str, Floats],
    classes: Floats,
    rule: ReadingRule,
) -> Floats:
    """Each of N detections' texts, with their vectors, and (C, D) unit rows -> (N, C)."""
    rows = [rule.over_beams(np.stack([vectors[text] for text in own]) @ classes.T) for own in texts]
    return np.stack(rows) if rows else np.zeros((0, len(classes)))


def class_probabilities(cosines: Floats, temperature: float) -> Floats:
    """(N, C) cosines -> (N, C): softmax of temperature times cosine over classes."""
    logits = temperature * cosines
    logits -= logits.max(1, keepdims=True, initial=-np.inf)
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
