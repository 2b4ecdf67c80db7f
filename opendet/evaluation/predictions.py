"""What the detector found in each image, in memory and as `predictions.parquet`."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from opendet.evaluation.tables import Floats
from opendet.files import write_durably

_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("boxes_xyxy", pa.list_(pa.list_(pa.float64(), 4))),
        ("scores", pa.list_(pa.float64())),
        ("names", pa.list_(pa.list_(pa.string()))),
        ("masks", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True, slots=True)
class ImagePrediction:
    """The judged detections of one image, the best first."""

    key: str
    boxes_xyxy: Floats
    """(N, 4) pixels of the upright image."""
    scores: Floats
    """(N,) in [0, 1]."""
    names: tuple[tuple[str, ...], ...]
    """N tuples of beams, the best first."""
    masks: tuple[str | None, ...] | None = None
    """N of COCO's compressed run-length codes, down the columns, of the upright image's height and
    width; None where no mask was drawn. None for a detector of boxes alone."""


def write_predictions(path: Path, predictions: Sequence[ImagePrediction]) -> None:
    """The same predictions give the same bytes."""
    table = pa.Table.from_pylist([_row(one) for one in predictions], schema=_SCHEMA)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_durably(path, buffer.getvalue())


def read_predictions(path: Path) -> tuple[ImagePrediction, ...]:
    """Without masks where the file is from before there were any.

    Raises FileNotFoundError, or pyarrow's error for a file that is no such table.
    """
    rows = pq.read_table(io.BytesIO(path.read_bytes()), schema=_SCHEMA).to_pylist()
    return tuple(
        ImagePrediction(
            key=row["key"],
            boxes_xyxy=np.asarray(row["boxes_xyxy"], np.float64).reshape(-1, 4),
            scores=np.asarray(row["scores"], np.float64),
            names=tuple(tuple(beams) for beams in row["names"]),
            masks=None if row["masks"] is None else tuple(row["masks"]),
        )
        for row in rows
    )


def _row(one: ImagePrediction) -> dict[str, object]:
    return {
        "key": one.key,
        "boxes_xyxy": one.boxes_xyxy.tolist(),
        "scores": one.scores.tolist(),
        "names": [list(beams) for beams in one.names],
        "masks": None if one.masks is None else list(one.masks),
    }
