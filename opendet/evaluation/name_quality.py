"""How good the names of found objects are, apart from the scores."""

from collections.abc import Sequence
from dataclasses import dataclass

from opendet.evaluation.ap import Truth
from opendet.evaluation.lemma import Lemmatiser
from opendet.evaluation.match import match_boxes
from opendet.evaluation.predictions import ImagePrediction


@dataclass(frozen=True, slots=True)
class NameQuality:
    """Of the objects that were found at all, how many were named right, by each way to judge."""

    matched: int
    exact: int
    """The first beam is the label, letter case and spacing aside."""
    any_beam: int
    """One of the beams is."""
    lemma: int
    """The first beam and the label are the same by their lemmas."""


def name_quality(
    truths: Sequence[Truth],
    predictions: Sequence[ImagePrediction],
    vocabulary: Sequence[str],
    lemmatiser: Lemmatiser,
    match_iou: float,
) -> NameQuality:
    """Judge the names of matched boxes, whatever their score."""
    matched = exact = any_beam = lemma = 0
    for truth, one in zip(truths, predictions, strict=True):
        for detection, target in match_boxes(truth, one.boxes_xyxy, match_iou):
            label = vocabulary[truth.classes[target]]
            beams = one.names[detection]
            matched += 1
            exact += [*map(_plain, beams[:1])] == [_plain(label)]
            any_beam += _plain(label) in map(_plain, beams)
            lemma += [*map(lemmatiser.of_name, beams[:1])] == [lemmatiser.of_name(label)]
    return NameQuality(matched, exact, any_beam, lemma)


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())
