"""The alignment score: how near prompts are to the teacher's text vectors of the true names.

The mean and deviation of cos(P_vl, T_e) over detections that found an object, whatever their
score. Open-Det reports 0.555 +- 0.074 for itself and 0.448 +- 0.026 for GenerateU without a
definition; this is ours.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opendet.evaluation.ap import Truth
from opendet.evaluation.match import match_boxes
from opendet.evaluation.naming import TextEncoder, embed_texts, in_template
from opendet.evaluation.tables import Floats

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PromptPair:
    """What the name of a found object was read from, and its true name."""

    prompt: NDArray[np.float32]
    """(D_t,) unit vector."""
    label: str


def prompt_pairs(
    truth: Truth,
    labels: Sequence[str],
    boxes_xyxy: Floats,
    prompts: NDArray[np.float32],
    least_iou: float,
) -> Iterator[PromptPair]:
    """The matched detections of an image; `labels` are the M objects', `prompts` (N, D_t)."""
    for detection, target in match_boxes(truth, boxes_xyxy, least_iou):
        yield PromptPair(prompts[detection], labels[target])


def alignment_score(
    pairs: Sequence[PromptPair], encode: TextEncoder, template: str
) -> dict[str, float | int]:
    """`mean`, `sd` and `pairs`; empty without a pair, and where the prompts live in another space.

    `template` is the text that stood for a name when the prompts were distilled.
    """
    if not pairs:
        return {}
    texts = [in_template(one.label, template) for one in pairs]
    vectors = embed_texts(encode, texts)
    width, wanted = len(pairs[0].prompt), len(vectors[texts[0]])
    if width != wanted:
        log.warning(
            "no alignment score: prompts are %d wide and text vectors %d, of another CLIP than the "
            "detector's teacher",
            width,
            wanted,
        )
        return {}
    cosines = [float(one.prompt @ vectors[text]) for one, text in zip(pairs, texts, strict=True)]
    return {"mean": float(np.mean(cosines)), "sd": float(np.std(cosines)), "pairs": len(pairs)}
