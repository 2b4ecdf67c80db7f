"""What ONNX detectors put out, read as boxes, scores and classes: one function for each layout.

B images, C classes, N candidates, H x W cells of a grid. Boxes are pixels of the network's input.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Outputs = Mapping[str, NDArray[Any]]
"""Name -> array, in the file's order."""
Layout = Literal["fastestdet", "yolov5", "yolov8", "nms"]

_AXIS_OF_CLASSES = {"fastestdet": 1, "yolov5": 2, "yolov8": 1}
_BEFORE_CLASSES = {"fastestdet": 5, "yolov5": 5, "yolov8": 4}
_SHAPES = {
    "fastestdet": "(B, 5 + classes, H, W)",
    "yolov5": "(B, N, 5 + classes)",
    "yolov8": "(B, 4 + classes, N)",
    "nms": "boxes (N, 4), scores (N,) and labels (N,), or one of (N, 6)",
}
_OBJECT_SHARE = 0.6  # FastestDet's score is objectness^0.6 x class^0.4

Number = TypeVar("Number", np.float64, np.int64)


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a network says of one image."""

    boxes_xyxy: Floats
    """(N, 4) pixels of the network's input, or shares of its sides where the file counts so."""
    scores: Floats
    """(N,) in [0, 1]."""
    classes: Integers
    """(N,)"""

    def only(self, rows: Any) -> "Candidates":
        return Candidates(self.boxes_xyxy[rows], self.scores[rows], self.classes[rows])


def decode(
    layout: Layout, outputs: Outputs, *, classes: int, input_wh: tuple[int, int]
) -> list[Candidates]:
    """Each image's candidates, in no order.

    The layout `nms` is of one image at a time. Raises ValueError, in one line, for outputs of
    another shape, for a number that is none, and for scores outside of [0, 1].
    """
    found = _decoded(layout, outputs, classes, input_wh)
    for one in found:
        if not (np.isfinite(one.boxes_xyxy).all() and np.isfinite(one.scores).all()):
            raise ValueError("it gives boxes or scores that are no numbers (NaN or infinite)")
        if ((one.scores < -1e-3) | (one.scores > 1 + 1e-3)).any():
            low, high = one.scores.min(), one.scores.max()
            raise ValueError(
                f"its scores reach from {low:.3g} to {high:.3g}, not within 0 and 1: check the "
                "layout, and that the sigmoid is in the exported file"
            )
    return found


def keep_best(found: Candidates, *, floor: float, most: int, iou: float | None) -> Candidates:
    """The surest first, at most `most`, none below `floor`; ties keep their order.

    With `iou`, those that overlap a surer one of their class by as much are left out: a grid says
    everything many times over.
    """
    found = found.only(found.scores >= floor)
    found = found.only(np.argsort(-found.scores, kind="stable"))
    if iou is None:
        return found.only(slice(most))
    kept: list[int] = []
    alive = np.arange(len(found.scores))
    while len(alive) and len(kept) < most:
        best, alive = int(alive[0]), alive[1:]
        kept.append(best)
        repeats = _iou(found.boxes_xyxy[best], found.boxes_xyxy[alive]) >= iou
        alive = alive[~(repeats & (found.classes[alive] == found.classes[best]))]
    return found.only(kept)


# --- one layout after the other


def _decoded(
    layout: Layout, outputs: Outputs, classes: int, input_wh: tuple[int, int]
) -> list[Candidates]:
    if layout == "nms":
        return [_nms(outputs)]
    array = np.asarray(next(iter(outputs.values())), np.float64)
    _require_shape(layout, array.shape, classes)
    if layout == "fastestdet":
        return [_fastestdet(grid, input_wh) for grid in array]
    rows = array if layout == "yolov5" else array.transpose(0, 2, 1)
    objects = layout == "yolov5"  # whether a candidate has an objectness, too
    return [_yolo(one, has_objectness=objects) for one in rows]


def _fastestdet(grid: Floats, input_wh: tuple[int, int]) -> Candidates:
    """(5 + C, H, W): objectness, offset of the centre and size in logits, classes' softmax.

    A cell's centre is (cell + tanh) / cells, a size sigmoid, all in shares of the input.
    """
    _, height, width = grid.shape
    row, column = np.mgrid[:height, :width]
    cx, cy = (column + np.tanh(grid[1])) / width, (row + np.tanh(grid[2])) / height
    w, h = _sigmoid(grid[3]), _sigmoid(grid[4])
    shares_cxcywh = np.stack((cx, cy, w, h), -1).reshape(-1, 4)
    classes = grid[5:].reshape(len(grid) - 5, -1).T  # (H x W, C)
    objectness = grid[0].reshape(-1).clip(min=0)
    sure = objectness**_OBJECT_SHARE * classes.max(1).clip(min=0) ** (1 - _OBJECT_SHARE)
    size = np.array([*input_wh, *input_wh], np.float64)
    return Candidates(_corners(shares_cxcywh) * size, sure, classes.argmax(1).astype(np.int64))


def _yolo(rows: Floats, *, has_objectness: bool) -> Candidates:
    """(N, 4 + C), or (N, 5 + C): centre, size, perhaps an objectness, a score for each class."""
    classes = rows[:, 5:] if has_objectness else rows[:, 4:]
    scores = classes.max(1) * (rows[:, 4] if has_objectness else 1.0)
    return Candidates(_corners(rows[:, :4]), scores, classes.argmax(1).astype(np.int64))


def _nms(outputs: Outputs) -> Candidates:
    """Boxes as corners, suppressed in the file itself; a label below 0 or a score of 0 pads."""
    boxes, scores, labels = _triple(outputs)
    if not np.isfinite(labels).all():
        raise ValueError("it gives labels that are no numbers (NaN or infinite)")
    found = Candidates(
        _flat(boxes, (-1, 4), np.float64),
        _flat(scores, (-1,), np.float64),
        _flat(labels, (-1,), np.int64),
    )
    sizes = len(found.boxes_xyxy), len(found.scores), len(found.classes)
    if len(set(sizes)) > 1:
        raise ValueError("it gives {} boxes, {} scores and {} labels".format(*sizes))
    return found.only((found.classes >= 0) & (found.scores != 0))


def _triple(outputs: Outputs) -> Sequence[NDArray[Any]]:
    """Boxes, scores and labels, by the outputs' names, else by their shapes and types."""
    if {"boxes", "scores", "labels"} <= outputs.keys():
        return [outputs[name] for name in ("boxes", "scores", "labels")]
    arrays = list(outputs.values())
    if len(arrays) == 1 and arrays[0].ndim >= 2 and arrays[0].shape[-1] == 6:
        rows = arrays[0].reshape(-1, 6)
        return rows[:, :4], rows[:, 4], rows[:, 5]
    boxes = [one for one in arrays if one.ndim >= 2 and one.shape[-1] == 4]
    rest = [one for one in arrays if not any(one is box for box in boxes)]
    labels = [one for one in rest if np.issubdtype(one.dtype, np.integer)]
    scores = [one for one in rest if np.issubdtype(one.dtype, np.floating)]
    if [len(boxes), len(scores), len(labels)] != [1, 1, 1]:
        given = ", ".join(f"{name} {one.shape}" for name, one in outputs.items())
        raise ValueError(
            f"it gives {given}; layout nms has {_SHAPES['nms']}: name the outputs boxes, scores "
            "and labels, or choose another layout"
        )
    return boxes[0], scores[0], labels[0]


def _flat(array: NDArray[Any], shape: tuple[int, ...], kind: type[Number]) -> NDArray[Number]:
    if array.ndim == len(shape) + 1 and array.shape[0] != 1:
        raise ValueError(f"it gives {array.shape} for one image: export it for a batch of 1")
    return array.reshape(shape).astype(kind)


# --- arithmetic, and what does not fit


def _require_shape(layout: Layout, shape: tuple[int, ...], classes: int) -> None:
    if _classes_if(layout, shape) == classes:
        return
    fitting = [one for one in _AXIS_OF_CLASSES if _classes_if(one, shape) == classes]
    told = f"it gives {shape}, and layout {layout} with {classes} class names is {_SHAPES[layout]}"
    if fitting:
        raise ValueError(f"{told}: it looks like layout {fitting[0]}")
    if (there := _classes_if(layout, shape)) is not None and there > 0:
        raise ValueError(f"{told}: name {there} classes, or choose another layout")
    raise ValueError(f"{told}: choose another layout")


def _classes_if(layout: str, shape: tuple[int, ...]) -> int | None:
    """How many classes an output of that shape has; None where the layout has no such shape."""
    if len(shape) != (4 if layout == "fastestdet" else 3):
        return None
    return shape[_AXIS_OF_CLASSES[layout]] - _BEFORE_CLASSES[layout]


def _corners(boxes_cxcywh: Floats) -> Floats:
    centre, half = boxes_cxcywh[:, :2], boxes_cxcywh[:, 2:] / 2
    return np.concatenate((centre - half, centre + half), 1)


def _sigmoid(logits: Floats) -> Floats:
    """Without an overflow for large ones of either sign."""
    return (1 + np.tanh(logits / 2)) / 2


def _iou(box_xyxy: Floats, others_xyxy: Floats) -> Floats:
    """(4,), (N, 4) -> (N,) in [0, 1]. In numpy: this annotator runs without torch."""
    low = np.maximum(box_xyxy[:2], others_xyxy[:, :2])
    high = np.minimum(box_xyxy[2:], others_xyxy[:, 2:])
    shared: Floats = (high - low).clip(min=0).prod(1)
    areas = (others_xyxy[:, 2:] - others_xyxy[:, :2]).clip(min=0).prod(1)
    own = (box_xyxy[2:] - box_xyxy[:2]).clip(min=0).prod()
    together: Floats = shared / np.maximum(own + areas - shared, np.finfo(np.float64).eps)
    return together
