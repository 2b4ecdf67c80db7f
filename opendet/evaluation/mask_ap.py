"""AP by masks: the same objects and detections as by boxes, judged by the pixels that they cover.

N detections of an image, M objects of the split. An object whose record has no mask for it, or one
that is none of its image, is counted with the reason and stands as a crowd of its box: a detection
in it is neither right nor wrong. A detection without a mask is left out, so that its object counts
as missed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from opendet.evaluation.ap import (
    AveragePrecision,
    Predictions,
    Truth,
    table_of_found,
    table_of_truth,
)
from opendet.evaluation.config import EvaluateConfig
from opendet.evaluation.counting import SIZES, count
from opendet.evaluation.predictions import ImagePrediction
from opendet.evaluation.reading import Reading
from opendet.evaluation.tables import FoundObjects, Masks, TrueObjects
from opendet.evaluation.truth import judged_regions
from opendet.masks import Rle, compressed, mask_areas
from opendet.record import Record, Region


@dataclass(frozen=True, slots=True)
class MaskedSplit:
    """A split's objects and detections with their masks."""

    images: int
    truth: TrueObjects
    """Each with a mask; crowds are the data's own, and objects that have no mask of their own."""
    found: FoundObjects
    """Every detection once, all of category 0; a mask is None where none was drawn."""
    unmasked: Counter[str]
    """Objects that stand as crowds, by reason."""
    config: EvaluateConfig

    @classmethod
    def of(
        cls,
        records: Sequence[Record],
        truths: Sequence[Truth],
        predictions: Sequence[ImagePrediction],
        config: EvaluateConfig,
    ) -> "MaskedSplit | None":
        """None for a detector of boxes alone; the sequences are aligned image by image.

        Raises ValueError for a detection's mask that is none of its image.
        """
        if all(one.masks is None for one in predictions):
            return None
        truth, unmasked = _true_objects(records, truths)
        found = _found_objects(records, predictions)
        return cls(len(records), truth, found, unmasked, config)

    def numbers(self) -> dict[str, Any]:
        """What needs no names; NaN where there is nothing to measure."""
        drawn = self.found.drawn()
        result = self._counted(self.truth.class_agnostic(), drawn, 1, tuple(SIZES))
        sizes = [size for size in SIZES if size != "all"]
        return {
            "agnostic_mask_ap": result.ap(),
            "agnostic_mask_ap50": result.ap50(),
            "agnostic_mask_ap75": result.ap75(),
            "agnostic_mask_ap_by_size": {size: result.ap(size=size) for size in sizes},
            "masks": {
                "objects": int((~self.truth.crowd).sum()),
                "unmasked_objects": dict(self.unmasked),
                "drawn": len(drawn),
                "not_drawn": len(self.found) - len(drawn),
            },
        }

    def named(self, readings: Sequence[Reading], *, classes: int) -> AveragePrecision:
        """By the classes that each image's detections are read as."""
        assert self.found.masks is not None
        found = table_of_found([one.predictions for one in readings])
        firsts = np.searchsorted(self.found.image, found.image)
        own = firsts + np.concatenate([one.detections for one in readings])
        found = replace(found, masks=self.found.masks[own]).drawn()
        if self.config.per_class is not None:
            found = found.best_per_category(self.config.per_class)
        return self._counted(self.truth, found, classes, ("all",))

    def _counted(
        self, truth: TrueObjects, found: FoundObjects, classes: int, sizes: Sequence[str]
    ) -> AveragePrecision:
        limits = (self.config.max_detections,)
        return AveragePrecision(
            count(
                truth,
                found,
                images=self.images,
                categories=classes,
                limits=limits,
                sizes=sizes,
                by_masks=True,
            )
        )


def _true_objects(
    records: Sequence[Record], truths: Sequence[Truth]
) -> tuple[TrueObjects, Counter[str]]:
    table = table_of_truth(truths)
    judged = [(record, region) for record in records for region in judged_regions(record)]
    codes, reasons = zip(*(_true_mask(record, region) for record, region in judged), strict=True)
    bare = np.array([bool(reason) for reason in reasons], np.bool_)
    unmasked = Counter(
        reason for reason, crowd in zip(reasons, table.crowd, strict=True) if reason and not crowd
    )
    masked = replace(
        table,
        masks=np.array(codes, np.object_),
        areas=mask_areas(codes),
        crowd=table.crowd | bare,
    )
    return masked, unmasked


def _true_mask(record: Record, region: Region) -> tuple[dict[str, Any], str]:
    """An object's mask; or its box as one, and why that is."""
    size_hw = record.height, record.width
    if region.mask is None:
        reason = "no mask"
    else:
        try:
            code = compressed(Rle(size_hw, region.mask.counts), size_hw, "mask")
        except ValueError:
            reason = "broken mask"
        else:
            return code, ""
    x0, y0, x1, y1 = region.box_xyxy
    return compressed([(x0, y0, x1, y0, x1, y1, x0, y1)], size_hw, "box"), reason


def _found_objects(
    records: Sequence[Record], predictions: Sequence[ImagePrediction]
) -> FoundObjects:
    found = [
        Predictions(one.boxes_xyxy, one.scores, np.zeros(len(one.scores), np.int64))
        for one in predictions
    ]
    codes = [
        found_masks(one, (record.height, record.width), record.key)
        for record, one in zip(records, predictions, strict=True)
    ]
    return replace(table_of_found(found), masks=np.concatenate(codes))


def found_masks(found: ImagePrediction, size_hw: tuple[int, int], place: str) -> Masks:
    """(N,) codes, None where no mask was drawn.

    Raises ValueError, naming the place, for a mask that is none of an image of that size.
    """
    drawn = found.masks or (None,) * len(found.scores)
    codes = [
        None
        if code is None
        else compressed(Rle(size_hw, code), size_hw, f"{place}: masks.{number}")
        for number, code in enumerate(drawn)
    ]
    return np.array(codes, np.object_)
