"""How good annotators are where the source knows the truth: records in, a line for each out.

A source that annotates only some of its classes in an image (LVIS) makes every annotator look worse
than it is: what it found beyond them counts as wrong.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan
from statistics import fmean

import numpy as np

from opendet.evaluation.annotator_truth import (
    IOU,
    SOURCE,
    Scene,
    boxes_of,
    first_name,
    label_numbers,
)
from opendet.evaluation.ap import Predictions, average_precision
from opendet.evaluation.tables import Bools, Floats
from opendet.record import Record, Region


@dataclass(frozen=True, slots=True)
class AnnotatorQuality:
    """One annotator's regions against the source's; NaN where there is nothing to measure.

    A name is right where it is the object's label or one of its other labels; of an annotator's
    names the first counts. Matches are one to one at an IoU of 0.5, the surest region first.
    """

    annotator: str
    revision: str
    images: int
    boxes: int
    """Its regions that no filter refused, all above its own threshold."""
    objects: int
    """The source's, crowds aside."""
    ap: float
    """COCO's: 101 points of recall, ten thresholds, mean over the labels."""
    ap50: float
    box_ap50: float
    """The same at an IoU of 0.5, whatever they are called."""
    box_precision: float
    box_recall: float
    box_f1: float
    precision: float
    """Box and name right, of all its regions; those in a crowd are neither."""
    recall: float
    """Box and name right, of all objects that have a label."""
    f1: float
    mean_iou: float
    """Of matched boxes, whatever they are called."""
    right_names: float
    """Share of matched boxes, on objects that have a label, whose name is right."""


def judge_annotators(records: Sequence[Record]) -> list[AnnotatorQuality]:
    """Each annotator that has regions in the records, by name. Raises ValueError, in one line,
    where there is none, or no object of the source to judge by."""
    scenes = [Scene.of(record) for record in records]
    if not any(scene.objects for scene in scenes):
        raise ValueError(
            f"{len(records)} images hold no box of their source: there is no truth to judge by "
            "(name a split whose boxes the stage regions keeps)"
        )
    who = annotators_in(records)
    if not who:
        raise ValueError(
            f"{len(records)} images hold boxes of their source alone: there is no annotator to "
            "judge (name one in regions.detectors, or a later stage, and build)"
        )
    return [_judge(one, records, scenes) for one in who]


def annotators_in(records: Iterable[Record]) -> list[tuple[str, str]]:
    """Name and revision of each, by name."""
    return sorted({_who(region) for record in records for region in _annotated(record)})


def _annotated(record: Record) -> list[Region]:
    return [one for one in record.regions if one.box_from.model != SOURCE and one.kept]


def _who(region: Region) -> tuple[str, str]:
    return region.box_from.model, region.box_from.revision


def _score(region: Region) -> float:
    """An annotator that does not say how sure it is, is sure."""
    return 1.0 if region.box_from.score is None else region.box_from.score


def _judge(
    who: tuple[str, str], records: Sequence[Record], scenes: Sequence[Scene]
) -> AnnotatorQuality:
    # The surest first, as a match goes to the first that asks; sorting is stable.
    said = [
        sorted((one for one in _annotated(record) if _who(one) == who), key=lambda x: -_score(x))
        for record in records
    ]
    fates = [_fates(regions, scene) for regions, scene in zip(said, scenes, strict=True)]
    objects = sum(len(scene.objects) for scene in scenes)
    labelled = sum(one.label is not None for scene in scenes for one in scene.objects)
    boxes, named = sum(map(len, said)), [known for fate in fates for known in fate.right_names]
    ignored, named_ignored = sum(x.ignored for x in fates), sum(x.named_ignored for x in fates)
    box_hits, hits = sum(len(x.ious) for x in fates), sum(x.named_hits for x in fates)
    ap, ap50, box_ap50 = _averages(said, scenes)
    return AnnotatorQuality(
        *who,
        images=len(records),
        boxes=boxes,
        objects=objects,
        ap=ap,
        ap50=ap50,
        box_ap50=box_ap50,
        box_precision=_share(box_hits, boxes - ignored),
        box_recall=_share(box_hits, objects),
        box_f1=_share(2 * box_hits, boxes - ignored + objects),
        precision=_share(hits, boxes - named_ignored),
        recall=_share(hits, labelled),
        f1=_share(2 * hits, boxes - named_ignored + labelled),
        mean_iou=_mean([iou for fate in fates for iou in fate.ious]),
        right_names=_mean(named),
    )


@dataclass(frozen=True, slots=True)
class _Fates:
    """What became of one annotator's regions in one image."""

    ious: list[float]
    """Of matches, whatever they are called."""
    right_names: list[bool]
    """Of matches on objects that have a label."""
    ignored: int
    """Regions without an object that lie in a crowd."""
    named_hits: int
    """Matches with an object of the right name."""
    named_ignored: int
    """Regions without such an object in a crowd of their name, or on an object without a label."""


def _fates(regions: Sequence[Region], scene: Scene) -> _Fates:
    names = [first_name(region) for region in regions]
    overlaps, called = scene.overlaps(regions), scene.called(names)
    in_crowds, crowds_called = scene.in_crowds(regions), scene.crowds_called(names)
    unlabelled = np.array([one.label is None for one in scene.objects], np.bool_)
    box_match = _match(overlaps, np.ones_like(called))
    named_match = _match(overlaps, called)
    pairs = [(row, int(column)) for row, column in enumerate(box_match) if column >= 0]
    unknown = (in_crowds & crowds_called).any(1) | ((overlaps >= IOU) & unlabelled).any(1)
    return _Fates(
        ious=[float(overlaps[pair]) for pair in pairs],
        right_names=[bool(called[pair]) for pair in pairs if not unlabelled[pair[1]]],
        ignored=int(((box_match < 0) & in_crowds.any(1)).sum()),
        named_hits=int((named_match >= 0).sum()),
        named_ignored=int(((named_match < 0) & unknown).sum()),
    )


def _match(overlaps: Floats, allowed: Bools) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """(N, M) -> (N,) the object of each region, or -1: each in its order takes the free one that it
    overlaps most, as COCO does."""
    free = np.where(allowed, overlaps, -1.0)
    taken = np.full(len(overlaps), -1, np.int64)
    for row in range(len(overlaps) if free.size else 0):
        best = int(free[row].argmax())
        if free[row, best] >= IOU:
            taken[row] = best
            free[:, best] = -1
    return taken


def _averages(
    said: Sequence[Sequence[Region]], scenes: Sequence[Scene]
) -> tuple[float, float, float]:
    """AP and AP50 with names, AP50 without. A name that is no label's has a class of its own, in
    which there is nothing to find."""
    numbers, classes = label_numbers(scenes)
    nobody = len(numbers)
    named = average_precision(
        [scene.truth(numbers) for scene in scenes],
        [
            _predictions(regions, [classes.get(first_name(one), nobody) for one in regions])
            for regions in said
        ],
        classes=nobody + 1,
    )
    boxes = average_precision(
        [scene.boxes() for scene in scenes],
        [_predictions(regions, [0] * len(regions)) for regions in said],
        classes=1,
    )
    return named.ap(), named.ap50(), boxes.ap50()


def _predictions(regions: Sequence[Region], classes: Sequence[int]) -> Predictions:
    scores = np.array([_score(region) for region in regions], np.float64)
    return Predictions(boxes_of(regions), scores, np.array(classes, np.int64))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else nan


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return fmean(known) if known else nan
