"""Annotation files and results of a few random images, as the benchmarks write them."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from opendet.evaluation.counting import Counts

CATEGORY_IDS = (3, 7, 11, 40)
FREQUENCIES = ("r", "c", "f", "f")


def random_lvis(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An LVIS file with ids that have gaps, in no order, and results with ties and near misses."""
    rng = np.random.default_rng(seed)
    ids = (rng.permutation(30)[: rng.integers(1, 7)] * 10 + 5).tolist()
    annotations: list[dict[str, Any]] = []
    images, results = [], []
    for one in ids:
        own = [_annotation(rng, one) for _ in range(rng.integers(0, 6))]
        annotations += own
        absent = [c for c in CATEGORY_IDS if c not in {a["category_id"] for a in own}]
        images.append(
            {
                "id": one,
                "coco_url": f"http://images/{'val2017' if rng.random() < 0.7 else 'train2017'}/x",
                "neg_category_ids": [c for c in absent if rng.random() < 0.5],
                "not_exhaustive_category_ids": [c for c in CATEGORY_IDS if rng.random() < 0.3],
            }
        )
        results += [_result(rng, one, own) for _ in range(rng.integers(0, 25))]
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number
    categories = [
        {"id": c, "name": f"thing_{c}", "frequency": f, "synonyms": [f"thing_{c}"]}
        for c, f in zip(CATEGORY_IDS, FREQUENCIES, strict=True)
    ]
    file = {"images": images, "annotations": annotations, "categories": categories[::-1]}
    return file, results


def _annotation(rng: np.random.Generator, image: int) -> dict[str, Any]:
    box_xywh = [*rng.integers(0, 100, 2).tolist(), *rng.integers(1, 130, 2).tolist()]
    return {
        "image_id": image,
        "category_id": int(rng.choice(CATEGORY_IDS)),
        "bbox": box_xywh,
        "area": float(box_xywh[2] * box_xywh[3] * rng.uniform(0.4, 1)),  # a mask fills less
        "segmentation": [[0, 0, 1, 1, 0, 1]],
    }


def _result(rng: np.random.Generator, image: int, own: list[dict[str, Any]]) -> dict[str, Any]:
    box_xywh = [*rng.integers(0, 100, 2).tolist(), *rng.integers(1, 130, 2).tolist()]
    category = int(rng.choice(CATEGORY_IDS))
    if own and rng.random() < 0.7:
        copied = own[rng.integers(len(own))]
        shifted = np.array(copied["bbox"]) + rng.integers(-5, 6, 4)
        box_xywh = np.maximum(shifted, [0, 0, 1, 1]).tolist()
        category = copied["category_id"]
    score = int(rng.integers(0, 6)) / 5
    return {"image_id": image, "category_id": category, "bbox": box_xywh, "score": score}


def random_masks(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A COCO file and results with masks written in each of their three ways, crowds, and ties."""
    rng = np.random.default_rng(seed)
    images, annotations, results = [], [], []
    for one in (rng.permutation(30)[: rng.integers(1, 6)] * 10 + 5).tolist():
        height, width = rng.integers(60, 260, 2).tolist()
        images.append({"id": one, "height": height, "width": width})
        true = [_polygons(rng, height, width) for _ in range(rng.integers(0, 6))]
        for polygons in true:
            code = joined(polygons, height, width)
            annotation = {
                "image_id": one,
                "category_id": int(rng.choice(CATEGORY_IDS)),
                "bbox": coco_mask.toBbox(code).tolist(),
                "area": float(coco_mask.area(code)),
                "segmentation": written(rng.integers(3), polygons, height, width),
                "iscrowd": int(rng.random() < 0.2),
            }
            annotations.append({"id": len(annotations) + 1, **annotation})
        for _ in range(rng.integers(0, 15)):
            polygons = _polygons(rng, height, width)
            category = int(rng.choice(CATEGORY_IDS))
            if true and rng.random() < 0.7:
                copied = rng.integers(len(true))
                polygons = [(np.array(p) + rng.integers(-4, 5)).tolist() for p in true[copied]]
                category = annotations[copied - len(true)]["category_id"]
            result = {
                "image_id": one,
                "category_id": category,
                "segmentation": written(rng.integers(3), polygons, height, width),
                "score": int(rng.integers(0, 6)) / 5,
            }
            results.append(result)
    categories = [{"id": c, "name": f"thing_{c}"} for c in CATEGORY_IDS]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def _polygons(rng: np.random.Generator, height: int, width: int) -> list[list[float]]:
    """One or two, of three to eight corners, some of them a little outside the image."""
    return [
        (rng.uniform(-0.1, 1.1, (rng.integers(3, 9), 2)) * (width, height))
        .round(2)
        .ravel()
        .tolist()
        for _ in range(rng.integers(1, 3))
    ]


def joined(polygons: list[list[float]], height: int, width: int) -> dict[str, Any]:
    """pycocotools' compressed code."""
    code: dict[str, Any] = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    return code


def written(way: int, polygons: list[list[float]], height: int, width: int) -> Any:
    """As polygons, as a compressed code, or as a plain one."""
    if way == 0:
        return polygons
    code = joined(polygons, height, width)
    if way == 1:
        return {"size": [height, width], "counts": code["counts"].decode()}
    pixels = np.concatenate(([0], coco_mask.decode([code]).ravel("F")))
    changes = np.flatnonzero(np.diff(pixels))
    edges = np.concatenate(([0], changes, [height * width]))
    return {"size": [height, width], "counts": np.diff(edges).tolist()}


def pycocotools_of(known: dict[str, Any], results: list[dict[str, Any]], kind: str) -> Any:
    """Its accumulated numbers; it refuses an empty list, for which everything found is 0."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = known
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(results) if results else COCO(), kind)
        judge.evaluate()
        judge.accumulate()
    return judge.eval


def assert_same(ours: Counts, theirs: Any, where: str) -> None:
    """To 12 decimals: pycocotools adds 2.2e-16 to the denominator of a precision, the faster one
    does not, so that a perfect precision is 0.9999999999999998 there and 1 here."""
    differ = np.abs(ours.precision - theirs["precision"][..., -1]).max()
    assert np.round(differ, 12) == 0.0, where
    assert np.abs(ours.recall - theirs["recall"]).max() == 0.0, where


def write_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path
