"""The evaluator beside pycocotools on a set like COCO's: its speed, and that it says the same.

As many objects and detections to an image as COCO's validation set and a detector have, 80
classes, all thresholds, sizes and limits. Both begin with arrays or lists in memory.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from opendet.bench.alternation import ROUNDS, alternate, cost, spent_of, times
from opendet.bench.harness import Place, Row, at_least, at_most, code_of
from opendet.evaluation.ap import Predictions, Truth, table_of_found, table_of_truth
from opendet.evaluation.counting import coco_results, coco_truth, count
from opendet.faults.evaluated import DECIMALS, pycocotools_of

IMAGES, CLASSES, OBJECTS, FOUND = 500, 80, 7.4, 100
"""Objects of an image on average, as COCO has; detections of each, as a detector gives."""
FASTER = 4.0
_SIDE = 500  # pixels that boxes begin in


def measure(place: Place) -> Iterator[Row]:
    """CPU time against pycocotools', and the largest difference of all that both count."""
    settings = {"images": IMAGES, "classes": CLASSES, "found": FOUND, "rounds": ROUNDS}
    work = partial(costs, images=IMAGES)
    code = code_of("opendet.bench.evaluating")
    told: dict[str, Any] | None = place.unit(settings, code, work, what="evaluating")
    if told is not None:
        yield from rows_of(told)


def costs(*, images: int, rounds: int = ROUNDS) -> dict[str, Any]:
    truths, predictions = coco_like(images, np.random.default_rng(0))
    truth, found = table_of_truth(truths), table_of_found(predictions)
    known = coco_truth(truth, np.arange(images), np.arange(CLASSES))
    results = coco_results(found)
    ours = partial(count, truth, found, images=images, categories=CLASSES)
    theirs = partial(pycocotools_of, known, results)
    mine, (precision, recall) = ours(), theirs()
    pairs = ((mine.precision, precision[..., -1]), (mine.recall, recall))
    largest = max(float(np.abs(one - other).max(initial=0)) for one, other in pairs)
    spent = alternate({"ours": ours, "pycocotools": theirs}, rounds=rounds)
    return {"images": images, "largest": round(largest, DECIMALS), "ap": mine.ap(), "spent": spent}


def rows_of(told: Mapping[str, Any]) -> Iterator[Row]:
    spent, images = spent_of(told["spent"]), int(told["images"])
    ours, theirs = spent["ours"], spent["pycocotools"]
    said = f"{cost(ours, 1, unit='s')} against {cost(theirs, 1, unit='s')}; {images} images"
    yield at_least("times pycocotools' speed, CPU time", times(theirs, ours), FASTER, said)
    agreed = f"of every class, threshold, recall point, size and limit; AP {told['ap']:.3f}"
    yield at_most("largest difference from pycocotools", told["largest"], 0, agreed)
    for name, what in (("ours", "our"), ("pycocotools", "pycocotools'")):
        yield Row(f"{what} evaluator's memory, MB", spent[name].megabytes, detail="grown by a run")


def coco_like(images: int, rng: np.random.Generator) -> tuple[list[Truth], list[Predictions]]:
    """A third of the detections lie near an object, most of them with its class."""
    truths, predictions = [], []
    for number in range(images):
        objects = int(rng.poisson(OBJECTS))
        boxes_xyxy, classes = _boxes(rng, objects), rng.integers(0, CLASSES, objects)
        truths.append(Truth(f"image-{number}", boxes_xyxy, classes, rng.random(objects) < 0.01))
        found_xyxy, found = _boxes(rng, FOUND), rng.integers(0, CLASSES, FOUND)
        if objects:
            of = rng.integers(0, objects, FOUND)
            near, named = rng.random(FOUND) < 0.33, rng.random(FOUND) < 0.8
            found_xyxy[near] = (boxes_xyxy[of] + rng.normal(0, 6, (FOUND, 4)))[near]
            found_xyxy[:, 2:] = np.maximum(found_xyxy[:, 2:], found_xyxy[:, :2] + 1)
            found[near & named] = classes[of][near & named]
        scores = rng.random(FOUND).round(3)  # equal ones among them
        predictions.append(Predictions(found_xyxy, scores, found))
    return truths, predictions


def _boxes(rng: np.random.Generator, many: int) -> Any:
    low = rng.uniform(0, _SIDE, (many, 2))
    return np.concatenate((low, low + np.exp(rng.uniform(2, 5.7, (many, 2)))), 1)
