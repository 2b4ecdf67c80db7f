"""True and found objects of a whole set of images, as columns.

M objects, N detections, I images, C categories. Images and categories are numbered from 0 in the
order of their ids, which is the order that decides between equal scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]
Masks = NDArray[np.object_]
"""(N,) compressed run-length codes, `{"size": [H, W], "counts": bytes}` each."""


def _no_numbers() -> Integers:
    return np.zeros(0, np.int64)


def _no_boxes() -> Floats:
    return np.zeros((0, 4))


@dataclass(frozen=True, slots=True)
class Federation:
    """Which categories were looked for in which images, as LVIS has it (Gupta et al. 2019)."""

    judged: Bools
    """(I, C) True where the category is there, or is known not to be there."""
    partial: Bools
    """(I, C) True where more objects of the category are there than were annotated."""

    def of_images(self, images: Integers) -> "Federation":
        return Federation(self.judged[images], self.partial[images])


@dataclass(frozen=True, slots=True)
class TrueObjects:
    """What is in the images."""

    image: Integers = field(default_factory=_no_numbers)
    """(M,) in [0, I)."""
    category: Integers = field(default_factory=_no_numbers)
    """(M,) in [0, C)."""
    boxes_xywh: Floats = field(default_factory=_no_boxes)
    """(M, 4) pixels."""
    areas: Floats = field(default_factory=lambda: np.zeros(0))
    """(M,) square pixels: of the object's mask where there is one, else of its box."""
    crowd: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    """(M,) True where the box covers a group: a detection in it is neither right nor wrong."""
    masks: Masks | None = None
    """(M,) None where objects are judged by their boxes."""

    def only(self, rows: Bools | Integers) -> "TrueObjects":
        return TrueObjects(
            self.image[rows],
            self.category[rows],
            self.boxes_xywh[rows],
            self.areas[rows],
            self.crowd[rows],
            None if self.masks is None else self.masks[rows],
        )

    def class_agnostic(self) -> "TrueObjects":
        """The same objects, all of category 0."""
        return replace(self, category=np.zeros_like(self.category))


@dataclass(frozen=True, slots=True)
class FoundObjects:
    """What a detector found."""

    image: Integers = field(default_factory=_no_numbers)
    """(N,) in [0, I)."""
    category: Integers = field(default_factory=_no_numbers)
    """(N,) in [0, C)."""
    boxes_xywh: Floats = field(default_factory=_no_boxes)
    """(N, 4) pixels."""
    scores: Floats = field(default_factory=lambda: np.zeros(0))
    """(N,)"""
    masks: Masks | None = None
    """(N,) None for a detector of boxes."""

    def __len__(self) -> int:
        return len(self.scores)

    def only(self, rows: Bools | Integers) -> "FoundObjects":
        return FoundObjects(
            self.image[rows],
            self.category[rows],
            self.boxes_xywh[rows],
            self.scores[rows],
            None if self.masks is None else self.masks[rows],
        )

    def drawn(self) -> "FoundObjects":
        """Of a table in which a mask may be None, those that have one."""
        assert self.masks is not None
        return self.only(np.array([code is not None for code in self.masks], np.bool_))

    def best_per_category(self, most: int) -> "FoundObjects":
        """The `most` best scored of each category over all images; ties keep their order."""
        keep = _rank_in_group(self.category, self.scores) < most
        return self.only(keep)

    def class_agnostic(self) -> "FoundObjects":
        """Each box of an image once, with the best score it has, all of category 0.

        An open-ended detector's box is written down once for each class it is read as.
        """
        places = np.column_stack((self.image, self.boxes_xywh))
        _, box = np.unique(places, axis=0, return_inverse=True)
        best = _rank_in_group(box.reshape(-1), self.scores) == 0
        kept = self.only(best)
        return replace(kept, category=np.zeros_like(kept.category))


def join_found(parts: Sequence[FoundObjects]) -> FoundObjects:
    """All rows of the parts, one part after the other; all of them have masks, or none."""
    if not parts:
        return FoundObjects()
    masks = [one.masks for one in parts if one.masks is not None]
    assert len(masks) in (0, len(parts)), (len(masks), len(parts))
    return FoundObjects(
        np.concatenate([one.image for one in parts]),
        np.concatenate([one.category for one in parts]),
        np.concatenate([one.boxes_xywh for one in parts]),
        np.concatenate([one.scores for one in parts]),
        np.concatenate(masks) if masks else None,
    )


def xywh_of(boxes_xyxy: Floats) -> Floats:
    """(N, 4) corners -> (N, 4) corner and size, as COCO's files have them."""
    corners = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    return np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), 1)


def _rank_in_group(group: Integers, scores: Floats) -> Integers:
    """(N,) each row's place in its group, the best scored first; ties keep their order."""
    order = np.lexsort((-scores, group))  # Stable: by group, then the best first.
    firsts = np.searchsorted(group[order], group[order], side="left")
    ranks = np.zeros(len(group), np.int64)
    ranks[order] = np.arange(len(order)) - firsts
    return ranks
