"""How good a detector of the small world is: its boxes, its names, and how near its prompts are to
the names' text vectors.

B images, Q queries, N detections of one image, C classes (the world's names), D_t text width.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from opendet.bench.synthetic import NAMES, TIERS, SceneSet
from opendet.boxes import to_record
from opendet.evaluation.ap import Predictions, Truth, average_precision, class_agnostic
from opendet.evaluation.match import match_boxes
from opendet.model.detector import OpenDetector
from opendet.model.outputs import DetectorOutput
from opendet.model.t5_namer import T5Namer

Encode = Callable[[Sequence[str]], NDArray[np.float32]]
"""N texts -> (N, D_t) unit rows."""
NamedBy = Literal["alignment", "name"]

IMAGES_AT_ONCE = 32
MATCHED_IOU = 0.5
"""From which overlap on a detection has found an object, where its name is judged."""


@dataclass(frozen=True, slots=True)
class Found:
    """One image's detections, the surest first."""

    predictions: Predictions
    prompts: Tensor | None
    """(N, D_t)"""
    out_of_context: Tensor | None
    """(N, D_t) the prompts where B and E are another image's."""


def judge(
    detector: OpenDetector, scenes: SceneSet, encode: Encode, *, by: NamedBy
) -> dict[str, float]:
    """Percent, but for the cosines. By name the class of a detection is the one whose text is the
    nearest to what the namer writes; by alignment the one that the last layer's aligner prefers.

    `ap` is the mean of AP50 and AP75 over classes; `right` how many of the objects that were found
    have the right name; `cosine` how near prompts are to the true names' vectors.
    """
    detector.eval()
    with torch.inference_mode():
        found = list(_detect(detector, scenes, encode, by))
    return judge_found(scenes, found, encode)


def judge_found(scenes: SceneSet, found: Sequence[Found], encode: Encode) -> dict[str, float]:
    """The same of what was found in each scene."""
    truths = [_truth(scenes, row) for row in range(len(scenes))]
    return {
        **_boxes(truths, found),
        **_names(truths, found),
        **_matched(truths, found, encode),
    }


def _detect(
    detector: OpenDetector, scenes: SceneSet, encode: Encode, by: NamedBy
) -> Iterator[Found]:
    device = next(detector.parameters()).device
    classes = torch.from_numpy(encode(NAMES))  # (C, D_t)
    for start in range(0, len(scenes), IMAGES_AT_ONCE):
        batch = scenes.batch(range(start, min(start + IMAGES_AT_ONCE, len(scenes)))).to(device)
        output = detector(batch.images, batch.sizes_hw)
        places, queries = output.valid.nonzero().unbind(1)  # of all images' detections
        if by == "alignment":
            texts = classes.to(device).expand(len(batch.keys), -1, -1)
            logits = detector.aligners[-1](output.queries, texts)  # (B, Q, C)
            yield from _split(output, places, logits[places, queries].argmax(1).cpu().numpy())
        else:
            prompts = detector.prompt(output, places, queries)
            assert isinstance(detector.namer, T5Namer)
            said = [names[0] for names in detector.namer.name(prompts, beams=1)]
            numbers = _nearest(said, encode, classes)
            other = detector.prompt(_out_of_context(output), places, queries)
            yield from _split(output, places, numbers, prompts, other)


def _split(
    output: DetectorOutput,
    places: Tensor,
    classes: NDArray[np.int64],
    prompts: Tensor | None = None,
    other: Tensor | None = None,
) -> Iterator[Found]:
    """All images' detections -> image by image."""
    side_h, side_w = output.sizes_hw[0].tolist()
    boxes = to_record(output.boxes_cxcywh[output.valid], width=side_w, height=side_h).cpu()
    scores, places = output.scores()[output.valid].cpu(), places.cpu()
    for image in range(len(output.valid)):
        own = (places == image).nonzero().squeeze(1)
        own = own[scores[own].argsort(descending=True, stable=True)]
        predictions = Predictions(
            boxes[own].double().numpy(), scores[own].double().numpy(), classes[own.numpy()]
        )
        yield Found(
            predictions,
            None if prompts is None else prompts.cpu()[own],
            None if other is None else other.cpu()[own],
        )


def _nearest(said: Sequence[str], encode: Encode, classes: Tensor) -> NDArray[np.int64]:
    """Texts -> the class whose vector is nearest to each."""
    unique = {text: row for row, text in enumerate(dict.fromkeys(said))}
    vectors = torch.from_numpy(encode([text or "nothing" for text in unique]))
    nearest = (vectors @ classes.T).argmax(1).numpy()
    return np.asarray(nearest[[unique[text] for text in said]], np.int64)


def _out_of_context(output: DetectorOutput) -> DetectorOutput:
    """The same queries, where another image's features are read."""
    return replace(
        output,
        features=output.features.with_tokens(output.features.tokens.roll(1, 0)),
        memory=output.memory.with_tokens(output.memory.tokens.roll(1, 0)),
    )


def _truth(scenes: SceneSet, row: int) -> Truth:
    classes = np.array([NAMES.index(name) for name in scenes.names[row]], np.int64)
    boxes = scenes.boxes_xyxy[row].astype(np.float64)
    return Truth(str(row), boxes, classes, np.zeros(len(classes), np.bool_))


def _boxes(truths: Sequence[Truth], found: Sequence[Found]) -> dict[str, float]:
    """Whatever the objects are called."""
    unnamed = [
        replace(one.predictions, classes=np.zeros_like(one.predictions.classes)) for one in found
    ]
    result = average_precision([class_agnostic(truth) for truth in truths], unnamed, classes=1)
    return {
        "agnostic_ap": 100 * result.ap(),
        "agnostic_ap50": 100 * result.ap50(),
        "agnostic_ap75": 100 * result.ap75(),
    }


def _names(truths: Sequence[Truth], found: Sequence[Found]) -> dict[str, float]:
    result = average_precision(truths, [one.predictions for one in found], classes=len(NAMES))
    groups = {"": None, **{f"_{tier}": _of_tier(tier) for tier in ("frequent", "rare", "unseen")}}
    return {
        f"ap{group}": 50 * (result.ap50(classes) + result.ap75(classes))
        for group, classes in groups.items()
    }


def _of_tier(tier: str) -> list[int]:
    return [number for number, own in enumerate(TIERS.values()) if own == tier]


def _matched(truths: Sequence[Truth], found: Sequence[Found], encode: Encode) -> dict[str, float]:
    """Of the objects that were found: whether their names are right, and the prompts' cosines."""
    vectors = torch.from_numpy(encode(NAMES))
    right: dict[str, list[bool]] = {tier: [] for tier in ("frequent", "rare", "unseen")}
    cosines: dict[str, list[Tensor]] = {"cosine": [], "cosine_out_of_context": []}
    for truth, one in zip(truths, found, strict=True):
        pairs = list(match_boxes(truth, one.predictions.boxes_xyxy, MATCHED_IOU))
        for detection, number in pairs:
            kind = int(truth.classes[number])
            right[TIERS[NAMES[kind]]].append(int(one.predictions.classes[detection]) == kind)
        detections = [detection for detection, _ in pairs]
        wanted = vectors[[int(truth.classes[number]) for _, number in pairs]]
        for name, prompts in zip(cosines, (one.prompts, one.out_of_context), strict=True):
            if prompts is not None:
                cosines[name].append(functional.cosine_similarity(prompts[detections], wanted))
    shares = {f"right_{tier}": 100 * _mean(values) for tier, values in right.items()}
    return shares | {
        name: float(torch.cat(values).sum()) / max(1, sum(map(len, values)))
        for name, values in cosines.items()
        if values
    }


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 0.0
