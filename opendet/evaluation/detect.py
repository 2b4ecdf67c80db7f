"""Asks a detector about a split, and keeps of its answers what is judged."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from opendet.evaluation.alignment import PromptPair, prompt_pairs
from opendet.evaluation.config import EvaluateConfig
from opendet.evaluation.predictions import ImagePrediction
from opendet.evaluation.tables import Integers
from opendet.evaluation.truth import truth_of
from opendet.record import Record

if TYPE_CHECKING:
    from PIL.Image import Image

# N detections of an image, D_t width of a prompt


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

    @property
    def prompts(self) -> Any:
        """(N, D_t) unit vectors that the names were read from; None where there are none."""

    @property
    def masks(self) -> Sequence[str | None] | None:
        """N of COCO's compressed codes of the image's size, None where no mask was drawn; None for
        a detector of boxes alone."""


Detect = Callable[[list["Image"]], Sequence[Detected]]
"""Upright RGB images -> their detections, one to one."""


def detect_all(
    detect: Detect, samples: Iterable[tuple[Record, "Image"]], config: EvaluateConfig
) -> tuple[list[Record], list[ImagePrediction], list[PromptPair]]:
    """The judged records, what was found in each, and the prompts of what was found rightly."""
    records: list[Record] = []
    predictions: list[ImagePrediction] = []
    pairs: list[PromptPair] = []
    for batch in _batches(samples, config.batch_size):
        found = detect([image for _, image in batch])
        assert len(found) == len(batch), (len(found), len(batch))
        for (record, _), one in zip(batch, found, strict=True):
            order = _order(one, config)
            records.append(record)
            predictions.append(_chosen(record.key, one, order))
            pairs += _pairs(record, one, order, config)
    return records, predictions, pairs


def judged_detections(key: str, found: Detected, config: EvaluateConfig) -> ImagePrediction:
    """What the configuration lets count of one image's detections, the best first."""
    return _chosen(key, found, _order(found, config))


def _order(found: Detected, config: EvaluateConfig) -> Integers:
    """The detections above the threshold, the best first, at most `max_detections`."""
    scores = np.asarray(found.scores, np.float64).reshape(-1)
    order = np.argsort(-scores, kind="stable")
    return order[scores[order] >= config.score_threshold][: config.max_detections]


def _chosen(key: str, found: Detected, order: Integers) -> ImagePrediction:
    scores = np.asarray(found.scores, np.float64).reshape(-1)
    boxes_xyxy = np.asarray(found.boxes_xyxy, np.float64).reshape(-1, 4)
    assert len(scores) == len(boxes_xyxy) == len(found.names), (scores.shape, boxes_xyxy.shape)
    names = tuple(tuple(found.names[place]) for place in order)
    masks = None if found.masks is None else tuple(found.masks[place] for place in order)
    return ImagePrediction(key, boxes_xyxy[order], scores[order], names, masks)


def _pairs(
    record: Record, found: Detected, order: Integers, config: EvaluateConfig
) -> Iterator[PromptPair]:
    """Only of matched detections: all prompts of a large split would fill the memory."""
    if found.prompts is None:
        return
    labels = [one.label for one in record.regions if one.label is not None]
    truth = truth_of(record, sorted(set(labels)))
    boxes_xyxy = np.asarray(found.boxes_xyxy, np.float64).reshape(-1, 4)[order]
    prompts = np.asarray(found.prompts, np.float32)[order]
    yield from prompt_pairs(truth, labels, boxes_xyxy, prompts, config.match_iou)


def _batches(
    samples: Iterable[tuple[Record, "Image"]], size: int
) -> Iterator[list[tuple[Record, "Image"]]]:
    iterator = iter(samples)
    while batch := list(islice(iterator, size)):
        yield batch
