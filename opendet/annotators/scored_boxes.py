"""From a model's boxes and scores to what was found: inside the image, sure enough, in order.

Q boxes of one image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opendet.annotators.detection import Found

if TYPE_CHECKING:
    from torch import Tensor

LEAST_SIDE = 1e-3
"""Pixels. What is left of a box inside the image and is thinner is no box."""


@dataclass(frozen=True)
class ScoredBoxes:
    """What a model says of one image."""

    boxes_xyxy: "Tensor"
    """(Q, 4) pixels of the image as it was given; may reach beyond it."""
    scores: "Tensor"
    """(Q,) in [0, 1], or -1 where the box has none of the names."""
    which: "Tensor"
    """(Q,) number of each box's name in the list of names."""


def found_in(
    scored: ScoredBoxes, names: Sequence[str], *, width: int, height: int, floor: float, most: int
) -> list[Found]:
    """The surest first, at most `most`; a score or a box that is no number is a ValueError."""
    import torch

    boxes, scores = scored.boxes_xyxy.detach().float().cpu(), scored.scores.detach().float().cpu()
    for what, numbers in (("score", scores), ("box", boxes)):
        if not torch.isfinite(numbers).all():
            raise ValueError(
                f"the detector gave a {what} that is no number: its weights are damaged, or its "
                "numbers overflow (take dtype float32)"
            )
    limits = torch.tensor([width, height, width, height], dtype=boxes.dtype)
    boxes = torch.minimum(boxes.clamp(min=0), limits)
    thick = ((boxes[:, 2:] - boxes[:, :2]) >= LEAST_SIDE).all(1)
    kept = (thick & (scores >= floor)).nonzero()[:, 0]
    # a stable order, so that boxes of the same score come as the model gave them
    order = kept[scores[kept].argsort(descending=True, stable=True)][:most]
    columns = boxes[order].tolist(), scores[order].tolist(), scored.which.cpu()[order].tolist()
    return [
        Found((x0, y0, x1, y1), names[which], score)
        for (x0, y0, x1, y1), score, which in zip(*columns, strict=True)
    ]
