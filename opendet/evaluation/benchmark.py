"""A detector run over the images of an official annotation file, its words read as categories."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from opendet.evaluation.annotations import AnnotatedSet, ImageEntry, require_size
from opendet.evaluation.class_vectors import read_class_vectors, require_same_width
from opendet.evaluation.config import EvaluateConfig
from opendet.evaluation.detect import Detect, judged_detections
from opendet.evaluation.mask_ap import found_masks
from opendet.evaluation.naming import ReadingRule, TextEncoder
from opendet.evaluation.predictions import ImagePrediction
from opendet.evaluation.reading import Judge, Reading
from opendet.evaluation.tables import FoundObjects, Masks, join_found, xywh_of
from opendet.sources.images import decode_upright
from opendet.sources.listing import RefusedError

log = logging.getLogger(__name__)

_TOLD_EVERY = 500


def judge_of(
    judged_by: AnnotatedSet, encode: TextEncoder, class_vectors: Path | None, config: EvaluateConfig
) -> Judge:
    """What reads words as the file's categories, by vectors from a file or by the tower's own.

    Raises ValueError, in one line, for vectors of another vocabulary or of another width.
    """
    names = [category.words for category in judged_by.categories]
    if class_vectors is None:
        return Judge.of(encode, names, config.template)
    classes = read_class_vectors(class_vectors, names=len(names))
    require_same_width(classes, np.asarray(encode([names[0]])))
    return Judge(encode, classes, config.template)


def detect_benchmark(
    detect: Detect, judged_by: AnnotatedSet, folder: Path, judge: Judge, config: EvaluateConfig
) -> FoundObjects:
    """Every detection once for each of its best categories; `per_class` best of a category. Of a
    detector that gives masks, those that have one.

    Raises ValueError, naming the file, for an image that is away or cannot be read: a benchmark
    with images left out is another one. So it does for masks of another size than the image has in
    the annotations.
    """
    rule = ReadingRule(config.reading, config.top_classes, config.temperature)
    parts: list[FoundObjects] = []
    for start in range(0, len(judged_by.images), config.batch_size):
        entries = judged_by.images[start : start + config.batch_size]
        found = detect([open_entry(folder, entry) for entry in entries])
        chosen = [judged_detections("", one, config) for one in found]
        [readings] = judge.read(chosen, [rule])
        of_images = zip(chosen, readings, entries, strict=True)
        parts += [
            _numbered(start + number, reading, _masks(one, entry, judged_by.where))
            for number, (one, reading, entry) in enumerate(of_images)
        ]
        if start // _TOLD_EVERY < (start + len(entries)) // _TOLD_EVERY:
            log.info("%d of %d images", start + len(entries), len(judged_by.images))
    everything = join_found(parts)
    return (
        everything if config.per_class is None else everything.best_per_category(config.per_class)
    )


def open_entry(folder: Path, entry: ImageEntry) -> Image.Image:
    """The upright image, where the entry says or directly in the folder."""
    path = next((one for one in _places(folder, entry) if one.is_file()), None)
    if path is None:
        raise ValueError(f"{folder} has no {entry.path}: name the folder of the images")
    try:
        return decode_upright(path.read_bytes())
    except (RefusedError, OSError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _places(folder: Path, entry: ImageEntry) -> Iterator[Path]:
    yield folder / entry.path
    yield folder / Path(entry.path).name


def _numbered(image: int, reading: Reading, masks: Masks | None) -> FoundObjects:
    found = reading.predictions
    table = FoundObjects(
        np.full(len(found.scores), image), found.classes, xywh_of(found.boxes_xyxy), found.scores
    )
    return table if masks is None else replace(table, masks=masks[reading.detections]).drawn()


def _masks(found: ImagePrediction, entry: ImageEntry, where: str) -> Masks | None:
    """(N,) codes, None where no mask was drawn; None for a detector of boxes alone."""
    if found.masks is None:
        return None
    return found_masks(found, require_size(entry, where), f"{where}: image {entry.id}")
