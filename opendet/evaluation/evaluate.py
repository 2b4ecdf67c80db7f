"""The stage `evaluate`: what the detector finds, and what it calls it, against the source's truth.

N detections of an image, M objects. The truth is `Region.label`, whether
the filter refused the region or not; crowds are ignored. Where the detector gives masks, the
objects' masks are judged too (see `opendet.evaluation.mask_ap`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from opendet.evaluation.alignment import alignment_score
from opendet.evaluation.ap import Predictions, Truth, average_precision, class_agnostic
from opendet.evaluation.config import EvaluateConfig
from opendet.evaluation.counting import SIZES
from opendet.evaluation.detect import Detect, detect_all
from opendet.evaluation.mask_ap import MaskedSplit
from opendet.evaluation.named import NamedSplit
from opendet.evaluation.naming import TextEncoder
from opendet.evaluation.predictions import ImagePrediction
from opendet.evaluation.recall import LIMITS
from opendet.evaluation.truth import truth_of
from opendet.record import Record

if TYPE_CHECKING:
    from PIL.Image import Image


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
    *,
    taught_as: str | None = None,
) -> Evaluation:
    """Judge a detector.

    `tiers` gives each class name its tier (see `opendet.evaluation.tiers`); names that it lists
    without showing them are classes too. A label that it does not list counts as `unseen`.
    `taught_as` is the text that stood for a name when the prompts were distilled, if it is another
    than the judge's template. Raises ValueError if the split holds no image or no labelled object.
    """
    records, predictions, pairs = detect_all(detect, samples, config)
    vocabulary = _vocabulary(records, tiers or {}, config)
    truths = [truth_of(record, vocabulary) for record in records]
    masks = MaskedSplit.of(records, truths, predictions, config)
    split = NamedSplit(truths, predictions, vocabulary, config, masks)
    metrics = {
        "protocol": config.protocol,
        "images": len(records),
        "objects": split.objects,
        **_agnostic(truths, predictions, config),
        **(masks.numbers() if masks else {}),
        **split.numbers(encode_texts, tiers),
        "alignment": alignment_score(pairs, encode_texts, taught_as or config.template),
    }
    return Evaluation({"evaluate": _finite(metrics)}, tuple(predictions))


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
) -> dict[str, Any]:
    found = [
        Predictions(one.boxes_xyxy, one.scores, np.zeros(len(one.scores), np.int64))
        for one in predictions
    ]
    limits = [limit for limit in LIMITS if limit <= config.max_detections]
    result = average_precision(
        [class_agnostic(truth) for truth in truths],
        found,
        classes=1,
        max_detections=config.max_detections,
        recall_at=limits,
        sizes=tuple(SIZES),
    )
    return {
        "agnostic_ap": result.ap(),
        "agnostic_ap50": result.ap50(),
        "agnostic_ap75": result.ap75(),
        "agnostic_ap_by_size": {size: result.ap(size=size) for size in SIZES if size != "all"},
        "agnostic_ar": {
            size: {str(limit): result.ar(limit, size=size) for limit in limits} for size in SIZES
        },
    }


def _finite(metrics: dict[str, Any]) -> dict[str, Any]:
    """Without what could not be measured, and rounded to what a reader can use."""
    kept: dict[str, Any] = {}
    for key, value in metrics.items():
        if isinstance(value, dict):
            if inner := _finite(value):
                kept[key] = inner
        elif not isinstance(value, float):
            kept[key] = value
        elif not math.isnan(value):
            kept[key] = round(value, 6)
    return kept
