"""Masks for what any detector found: SAM draws one into each box, in the image's own size.

N objects; H, W height and width of an image in pixels.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image

from opendet.annotators.segment import SegmentConfig, Segmenter
from opendet.annotators.weights import folder_digest
from opendet.detections import Detections
from opendet.sources.images import to_rgb


class Asked(Protocol):
    """Whatever finds things in pictures."""

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """Upright images of any size -> what is in each of them, one to one."""
        ...


class Masking:
    """A detector of boxes that gives masks too."""

    def __init__(self, detector: Asked, segmenter: Segmenter) -> None:
        self._detector = detector
        self._segmenter = segmenter

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        found = self._detector.detect(images)
        return [
            with_masks(image, one, self._segmenter)
            for image, one in zip(images, found, strict=True)
        ]


def masking(detector: Asked, config: SegmentConfig, knob: str) -> Asked:
    """The detector with masks, or as it is where the section names no model for them.

    `knob` is the place of the model's name; raises ValueError, in one line, where there is no such
    model.
    """
    if not config.model:
        return detector
    with loading():
        return Masking(detector, Segmenter(config, knob=knob))


@contextmanager
def loading() -> Iterator[None]:
    """Around the loading of an annotator's model outside of a stage's actors: transformers draws no
    bars on stderr, and torch keeps its threads, of which an annotator takes but one, so that any
    number of actors answers alike."""
    from transformers.utils import logging

    shown, threads = logging.is_progress_bar_enabled(), torch.get_num_threads()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def with_masks(image: Image, detections: Detections, segmenter: Segmenter) -> Detections:
    """The same objects, each with its mask; None where the model draws none or is not sure enough
    of it."""
    boxes_xyxy = [(x0, y0, x1, y1) for x0, y0, x1, y1 in detections.boxes_xyxy.tolist()]
    drawn = segmenter.segment(to_rgb(image), boxes_xyxy)
    return replace(detections, masks=[one[0] if one else None for one in drawn])


def mask_pixels(code: str, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """COCO's compressed run-length code -> (H, W), True inside."""
    from faster_coco_eval.core.mask import decode

    return np.asarray(decode({"size": list(size_hw), "counts": code}), np.bool_)


def weights_of(config: SegmentConfig) -> dict[str, str]:
    """What a stage's fingerprint says of a model in a folder: another of its name is another."""
    folder = Path(config.model).expanduser()
    return {"masks": folder_digest(folder)} if config.model and folder.is_dir() else {}
