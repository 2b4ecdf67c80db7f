"""The truth of a build's records: `Region.label`, whether the filter refused the region or not."""

from collections.abc import Sequence

import numpy as np

from opendet.evaluation.ap import Truth
from opendet.record import Record, Region


def judged_regions(record: Record) -> list[Region]:
    """The objects of a record, in the order of its `Truth`."""
    return [one for one in record.regions if one.label is not None]


def truth_of(record: Record, vocabulary: Sequence[str]) -> Truth:
    """The labelled regions of a record, the refused ones too."""
    numbers = {name: number for number, name in enumerate(vocabulary)}
    regions = judged_regions(record)
    return Truth(
        key=record.key,
        boxes_xyxy=np.asarray([one.box_xyxy for one in regions], np.float64).reshape(-1, 4),
        classes=np.asarray([numbers[one.label or ""] for one in regions], np.int64),
        crowd=np.asarray([one.crowd for one in regions], np.bool_),
    )
