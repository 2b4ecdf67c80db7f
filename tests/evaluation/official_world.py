"""Annotation files and results of a few random images, as the benchmarks write them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

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


def write_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path
