"""Two annotators of one image: where a second one saw what the first did, and called it alike."""

# N named regions of one image, D width of CLIP's space

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from opendet.record import Record, Region

SAME_PLACE = 0.5
"""IoU from which two annotators' boxes speak of one thing."""

Annotator = tuple[str, str]


def annotator_of(region: Region) -> Annotator:
    """Who drew the box: model and revision."""
    return region.box_from.model, region.box_from.revision


def is_the_sources(region: Region) -> bool:
    """Whether the source itself drew the box: it needs nobody to second it."""
    return region.box_from.model == "source"


def first_annotator(record: Record) -> Annotator | None:
    """Whose regions are the record's, beside the source's own; those of others only second them.
    None where nobody but the source drew any."""
    found = (region for region in record.regions if not is_the_sources(region))
    return next((annotator_of(region) for region in found), None)


def second_opinions(regions: Sequence[Region], texts: NDArray[np.float32]) -> list[float | None]:
    """For each of N regions the highest cosine, in [-1, 1], of its name's vector and that of a
    region in its place by another annotator; None where no other one saw anything there.

    `texts`: (N, D) unit rows, of the regions' first names.
    """
    annotators = [annotator_of(region) for region in regions]
    if len(set(annotators)) < 2:
        return [None] * len(regions)
    import torch

    from opendet.boxes import pairwise_iou

    boxes_xyxy = torch.tensor([region.box_xyxy for region in regions], dtype=torch.float64)
    iou = pairwise_iou(boxes_xyxy, boxes_xyxy)[0].numpy()  # (N, N)
    found: list[float | None] = []
    for row, own in enumerate(annotators):
        others = [
            number
            for number, other in enumerate(annotators)
            if other != own and iou[row, number] >= SAME_PLACE
        ]
        cosines = (texts[others] * texts[row]).sum(1)
        found.append(float(cosines.max().clip(-1, 1)) if others else None)
    return found
