"""What the source knows of an image, beside what annotators said of it, as arrays to compare.

M objects, K crowds, N regions. A word is compared in lower case and without the space around it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from opendet.boxes import area, pairwise_iou
from opendet.evaluation.ap import Truth
from opendet.evaluation.tables import Bools, Floats
from opendet.record import Record, Region

SOURCE = "source"
"""Whom `box_from` names where a box is the source's own."""
IOU = 0.5
"""From which a region and an object are the same thing; and the share of a region's own area from
which it lies in a crowd, as COCO has it."""


def plain(word: str) -> str:
    return word.strip().lower()


def first_name(region: Region) -> str:
    """What an annotator calls it; empty where it does not say."""
    return plain(region.names[0]) if region.names else ""


def words_of(region: Region) -> frozenset[str]:
    """What the source calls it, each word as right as the others; none where it does not say."""
    if region.label is None:
        return frozenset()
    return frozenset(map(plain, (region.label, *region.other_labels)))


def boxes_of(regions: Sequence[Region]) -> Floats:
    """(N, 4) xyxy pixels."""
    return np.array([region.box_xyxy for region in regions], np.float64).reshape(-1, 4)


@dataclass(frozen=True, slots=True)
class Scene:
    """One image's truth: the source's own regions, whatever a filter thought of them."""

    key: str
    objects: tuple[Region, ...]
    """M of them."""
    crowds: tuple[Region, ...]
    """K of them."""

    @classmethod
    def of(cls, record: Record) -> "Scene":
        known = [region for region in record.regions if region.box_from.model == SOURCE]
        return cls(
            record.key,
            tuple(region for region in known if not region.crowd),
            tuple(region for region in known if region.crowd),
        )

    def overlaps(self, regions: Sequence[Region]) -> Floats:
        """(N, M) IoU with each object."""
        iou, _ = pairwise_iou(*_tensors(regions, self.objects))
        return iou.numpy()

    def in_crowds(self, regions: Sequence[Region]) -> Bools:
        """(N, K) does the region lie in the crowd: with what share of its own area, not by IoU."""
        boxes_xyxy, crowds_xyxy = _tensors(regions, self.crowds)
        iou, union = pairwise_iou(boxes_xyxy, crowds_xyxy)
        share = iou * union / area(boxes_xyxy)[:, None].clamp(min=1e-9)
        inside: Bools = share.numpy() >= IOU
        return inside

    def called(self, names: Sequence[str]) -> Bools:
        """(N, M) is the name one of the object's words."""
        return _spoken(names, self.objects)

    def crowds_called(self, names: Sequence[str]) -> Bools:
        """(N, K)"""
        return _spoken(names, self.crowds)

    def truth(self, numbers: dict[str, int]) -> Truth:
        """The objects and crowds that have a label; `numbers` are those of the labels."""
        named = [region for region in (*self.objects, *self.crowds) if region.label is not None]
        return Truth(
            self.key,
            boxes_of(named),
            np.array([numbers[plain(region.label or "")] for region in named], np.int64),
            np.array([region.crowd for region in named], np.bool_),
        )

    def boxes(self) -> Truth:
        """All of them, of one class."""
        every = (*self.objects, *self.crowds)
        crowd = np.array([region.crowd for region in every], np.bool_)
        return Truth(self.key, boxes_of(every), np.zeros(len(every), np.int64), crowd)


def label_numbers(scenes: Iterable[Scene]) -> tuple[dict[str, int], dict[str, int]]:
    """Label -> class, from 0 in the labels' order; and each further word -> the class that it most
    often stands for, where it is no label itself."""
    known = [region for scene in scenes for region in (*scene.objects, *scene.crowds)]
    labels = sorted({plain(region.label) for region in known if region.label is not None})
    numbers = {label: number for number, label in enumerate(labels)}
    meant: dict[str, Counter[str]] = {}
    for region in known:
        if region.label is not None:
            for word in words_of(region) - numbers.keys():
                meant.setdefault(word, Counter())[plain(region.label)] += 1
    further = {
        word: numbers[min(counts, key=lambda label: (-counts[label], label))]
        for word, counts in meant.items()
    }
    return numbers, {**further, **numbers}


def _tensors(
    first: Sequence[Region], second: Sequence[Region]
) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(boxes_of(first)), torch.from_numpy(boxes_of(second))


def _spoken(names: Sequence[str], regions: Sequence[Region]) -> Bools:
    words = [words_of(region) for region in regions]
    table = [[bool(name) and name in one for one in words] for name in names]
    return np.array(table, np.bool_).reshape(len(names), len(regions))
