"""The stage `evaluate`: what the detector finds, and what it calls it, against the source's truth.

N detections of an image, M objects. The truth is `Region.label`, whether
the filter refused the region or not; crowds are ignored.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from opendet.evaluation.ap import (
    AveragePrecision,
    Predictions,
    Truth,
    average_precision,
    class_agnostic,
)
from opendet.evaluation.config import EvaluateConfig
from opendet.evaluation.name_quality import Judge, Reading, name_quality
from opendet.evaluation.naming import TextEncoder, first, joined
from opendet.evaluation.predictions import ImagePrediction
from opendet.evaluation.tiers import TIERS, TRAINED
from opendet.record import Record

if TYPE_CHECKING:
    from PIL.Image import Image


class Detected(Protocol):
    """What a detector says of one image: arrays, or tensors on the CPU."""

    @property
    def boxes_xyxy(self) -> Any:
        """(N, 4) pixels."""

    @property
    def scores(self) -> Any:
        """(N,) in [0, 1]."""

    @property
    def names(self) -> Sequence[Sequence[str]]:
        """N lists of beams, the best first."""


Detect = Callable[[list["Image"]], Sequence[Detected]]
"""Upright RGB images -> their detections, one to one."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `metrics/evaluate.json` and `predictions.parquet` hold."""

    metrics: dict[str, Any]
    """`{"evaluate": {...}}`; a group of names without any object is absent."""
    predictions: tuple[ImagePrediction, ...]


def evaluate(
    detect: Detect,
    samples: Iterable[tuple[Record, "Image"]],
    encode_texts: TextEncoder,
    tiers: Mapping[str, str] | None,
    config: EvaluateConfig,
) -> Evaluation:
    """Judge a detector.

    `tiers` gives each class name its tier (see `opendet.evaluation.tiers`); names that it lists
    without showing them are classes too. A label that it does not list counts as `unseen`.
    Raises ValueError if the split holds no image or no labelled object.
    """
    records, predictions = _detect_all(detect, samples, config)
    vocabulary = _vocabulary(records, tiers or {}, config)
    truths = [truth_of(record, vocabulary) for record in records]
    objects = sum(int((~truth.crowd).sum()) for truth in truths)
    judge = Judge.of(encode_texts, vocabulary, config)
    readings = judge.read(predictions, joined if config.reading == "joined" else first)
    readings_first = judge.read(predictions, first)
    named = _named_ap(truths, readings, len(vocabulary), config)
    quality = name_quality(truths, predictions, readings, vocabulary, config.match_iou)
    first_quality = name_quality(truths, predictions, readings_first, vocabulary, config.match_iou)
    metrics = {
        "images": len(records),
        "objects": objects,
        **_agnostic(truths, predictions, config),
        "named_ap50": _by_tier(named, vocabulary, tiers),
        "names": {
            "matched": _share(quality.matched, objects),
            "exact": _share(quality.exact, quality.matched),
            "any_beam": _share(quality.any_beam, quality.matched),
            "similar": _share(quality.similar, quality.matched),
        },
        "first_beam": {
            "named_ap50": _named_ap(truths, readings_first, len(vocabulary), config).ap50(),
            "similar": _share(first_quality.similar, first_quality.matched),
        },
    }
    return Evaluation({"evaluate": _finite(metrics)}, tuple(predictions))


def truth_of(record: Record, vocabulary: Sequence[str]) -> Truth:
    """The labelled regions of a record, the refused ones too."""
    numbers = {name: number for number, name in enumerate(vocabulary)}
    regions = [one for one in record.regions if one.label is not None]
    return Truth(
        key=record.key,
        boxes_xyxy=np.asarray([one.box_xyxy for one in regions], np.float64).reshape(-1, 4),
        classes=np.asarray([numbers[one.label or ""] for one in regions], np.int64),
        crowd=np.asarray([one.crowd for one in regions], np.bool_),
    )


def _detect_all(
    detect: Detect, samples: Iterable[tuple[Record, "Image"]], config: EvaluateConfig
) -> tuple[list[Record], list[ImagePrediction]]:
    records: list[Record] = []
    predictions: list[ImagePrediction] = []
    for batch in _batches(samples, config.batch_size):
        found = detect([image for _, image in batch])
        assert len(found) == len(batch), (len(found), len(batch))
        for (record, _), one in zip(batch, found, strict=True):
            records.append(record)
            predictions.append(_best(record.key, one, config))
    return records, predictions


def _best(key: str, found: Detected, config: EvaluateConfig) -> ImagePrediction:
    """The detections above the threshold, the best first, at most `max_detections`."""
    scores = np.asarray(found.scores, np.float64).reshape(-1)
    boxes_xyxy = np.asarray(found.boxes_xyxy, np.float64).reshape(-1, 4)
    assert len(scores) == len(boxes_xyxy) == len(found.names), (scores.shape, boxes_xyxy.shape)
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= config.score_threshold][: config.max_detections]
    names = tuple(tuple(found.names[place]) for place in order)
    return ImagePrediction(key, boxes_xyxy[order], scores[order], names)


def _vocabulary(
    records: Sequence[Record], tiers: Mapping[str, str], config: EvaluateConfig
) -> list[str]:
    labels = {one.label for record in records for one in record.regions if one.label is not None}
    if not labels:
        raise ValueError(
            f"split {config.split!r} has {len(records)} images and no labelled object: choose "
            "another one with evaluate.split"
        )
    return sorted(labels | set(tiers))


def _agnostic(
    truths: Sequence[Truth], predictions: Sequence[ImagePrediction], config: EvaluateConfig
) -> dict[str, float]:
    found = [
        Predictions(one.boxes_xyxy, one.scores, np.zeros(len(one.scores), np.int64))
        for one in predictions
    ]
    result = average_precision(
        [class_agnostic(truth) for truth in truths],
        found,
        classes=1,
        max_detections=config.max_detections,
    )
    return {
        "agnostic_ap": result.ap(),
        "agnostic_ap50": result.ap50(),
        "agnostic_ap75": result.ap75(),
    }


def _named_ap(
    truths: Sequence[Truth], readings: Sequence[Reading], classes: int, config: EvaluateConfig
) -> AveragePrecision:
    return average_precision(
        truths,
        [one.predictions for one in readings],
        classes=classes,
        max_detections=config.max_detections,
        per_class=config.per_class,
    )


def _by_tier(
    named: AveragePrecision, vocabulary: Sequence[str], tiers: Mapping[str, str] | None
) -> dict[str, float]:
    if tiers is None:
        return {"all": named.ap50()}
    of_name = [tiers.get(name, "unseen") for name in vocabulary]
    groups = {tier: [c for c, own in enumerate(of_name) if own == tier] for tier in TIERS}
    trained = [c for c, own in enumerate(of_name) if own in TRAINED]
    return {
        "all": named.ap50(),
        "trained": named.ap50(trained),
        **{tier: named.ap50(members) for tier, members in groups.items()},
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _finite(metrics: dict[str, Any]) -> dict[str, Any]:
    """Without what could not be measured, and rounded to what a reader can use."""
    kept: dict[str, Any] = {}
    for key, value in metrics.items():
        if isinstance(value, dict):
            kept[key] = _finite(value)
        elif not isinstance(value, float):
            kept[key] = value
        elif not math.isnan(value):
            kept[key] = round(value, 6)
    return kept


def _batches(
    samples: Iterable[tuple[Record, "Image"]], size: int
) -> Iterator[list[tuple[Record, "Image"]]]:
    iterator = iter(samples)
    while batch := list(islice(iterator, size)):
        yield batch
