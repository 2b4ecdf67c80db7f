"""Which detection found which object."""

from collections.abc import Iterator

import numpy as np
import torch

from opendet.boxes import pairwise_iou
from opendet.evaluation.ap import Truth
from opendet.evaluation.tables import Floats


def match_boxes(truth: Truth, boxes_xyxy: Floats, least_iou: float) -> Iterator[tuple[int, int]]:
    """Pairs (detection, object), greedy as COCO does: each detection in its order, which should be
    the best scored first, takes the free object that it overlaps most. Crowds are nobody's.
    """
    free = np.flatnonzero(~truth.crowd)
    if not len(free) or not len(boxes_xyxy):
        return
    iou, _ = pairwise_iou(torch.from_numpy(boxes_xyxy), torch.from_numpy(truth.boxes_xyxy[free]))
    overlaps = iou.numpy().copy()  # (N, M)
    for detection, row in enumerate(overlaps):
        best = int(row.argmax())
        if row[best] >= least_iou:
            yield detection, int(free[best])
            overlaps[:, best] = -1
