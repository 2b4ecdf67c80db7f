"""Official result files: a JSON list of image_id, category_id, bbox (xywh pixels) and score.

Where masks are judged, `segmentation` stands in the place of bbox.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import FiniteFloat

from opendet.evaluation.annotations import AnnotatedSet, require_size
from opendet.evaluation.tables import Floats, FoundObjects
from opendet.files import write_durably
from opendet.masks import Segmentation, compressed, mask_boxes_xywh
from opendet.typed_json import read_json


@dataclass(frozen=True, slots=True)
class _Result:
    image_id: int
    category_id: int
    score: FiniteFloat


@dataclass(frozen=True, slots=True)
class _BoxResult(_Result):
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


@dataclass(frozen=True, slots=True)
class _MaskResult(_Result):
    segmentation: Segmentation


def read_results(path: Path, judged_by: AnnotatedSet, *, masks: bool = False) -> FoundObjects:
    """The detections of a file, numbered as the annotations are.

    With `masks` a box is its mask's, whatever the file has for it: pycocotools would take the size
    of the object from that.

    Raises ValueError, in one line that names file and place, for a file that is no list of
    results, for an image or a category that the annotations do not have, and for a mask that is
    none of its image.
    """
    if masks:
        return _found_masks(read_json(list[_MaskResult], path), judged_by, str(path))
    rows = read_json(list[_BoxResult], path)
    _require_known(rows, judged_by, str(path))
    boxes_xywh = np.array([one.bbox for one in rows], np.float64).reshape(-1, 4)
    return _found(rows, boxes_xywh, judged_by)


def write_results(path: Path, found: FoundObjects, judged_by: AnnotatedSet) -> None:
    """With the annotations' own ids; read again, the numbers are the same to the last bit.

    Where there are masks they stand in the place of boxes, for pycocotools, given both, judges
    boxes."""
    images = [image.id for image in judged_by.images]
    categories = [category.id for category in judged_by.categories]
    rows = zip(
        found.image.tolist(),
        found.category.tolist(),
        _shapes(found),
        found.scores.tolist(),
        strict=True,
    )
    lines = (
        json.dumps(
            {
                "image_id": images[image],
                "category_id": categories[category],
                **shape,
                "score": score,
            }
        )
        for image, category, shape, score in rows
    )
    write_durably(path, ("[" + ",\n".join(lines) + "]\n").encode())


def _shapes(found: FoundObjects) -> Iterator[dict[str, Any]]:
    if found.masks is None:
        yield from ({"bbox": box_xywh} for box_xywh in found.boxes_xywh.tolist())
    else:
        for code in found.masks:
            plain = {"size": list(code["size"]), "counts": code["counts"].decode()}
            yield {"segmentation": plain}


def _found_masks(rows: Sequence[_MaskResult], judged_by: AnnotatedSet, where: str) -> FoundObjects:
    _require_known(rows, judged_by, where)
    images = {image.id: image for image in judged_by.images}
    codes = [
        compressed(
            one.segmentation,
            require_size(images[one.image_id], judged_by.where),
            f"{where}: {number}.segmentation",
        )
        for number, one in enumerate(rows)
    ]
    found = _found(rows, mask_boxes_xywh(codes), judged_by)
    return replace(found, masks=np.array(codes, np.object_))


def _found(rows: Sequence[_Result], boxes_xywh: Floats, judged_by: AnnotatedSet) -> FoundObjects:
    images, categories = judged_by.image_numbers, judged_by.category_numbers
    return FoundObjects(
        image=np.array([images[one.image_id] for one in rows], np.int64),
        category=np.array([categories[one.category_id] for one in rows], np.int64),
        boxes_xywh=boxes_xywh,
        scores=np.array([one.score for one in rows], np.float64),
    )


def _require_known(rows: Sequence[_Result], judged_by: AnnotatedSet, where: str) -> None:
    images, categories = judged_by.image_numbers, judged_by.category_numbers
    for number, one in enumerate(rows):
        if one.image_id not in images:
            raise ValueError(
                f"{where}: {number}.image_id {one.image_id} is no image of {judged_by.where}: "
                "name the annotations that the detector was run on"
            )
        if one.category_id not in categories:
            raise ValueError(
                f"{where}: {number}.category_id {one.category_id} is no category of "
                f"{judged_by.where}: write that file's ids, not places in a list"
            )
