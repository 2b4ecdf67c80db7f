"""How good the names of DeCo-DETR's head are, by a list of names and by the prototypes' own.

B images, K queries of a batch, M prototypes, C classes (the world's names).
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from opendet.bench.deco_world import TEXTS, class_vectors
from opendet.bench.judging import IMAGES_AT_ONCE, Found, judge_found
from opendet.bench.synthetic import NAMES, SceneSet
from opendet.boxes import to_record
from opendet.evaluation.ap import Predictions
from opendet.model.detector import OpenDetector
from opendet.model.outputs import DetectorOutput
from opendet.model.prototype_head import PrototypeHead

Judged = dict[str, dict[str, float]]
"""`list` and `free` -> what `judge_found` says."""


@torch.inference_mode()
def judge_heads(
    detector: OpenDetector, heads: Mapping[str, PrototypeHead], scenes: SceneSet
) -> dict[str, Judged]:
    """Of each head: `list`, its predictor chooses among the 64 names, with a score of p t; `free`,
    the prototypes' names, those of one name added up, with p w. The detector runs once."""
    detector.eval()
    found: dict[str, dict[str, list[Found]]] = {name: {"list": [], "free": []} for name in heads}
    for start in range(0, len(scenes), IMAGES_AT_ONCE):
        batch = scenes.batch(range(start, min(start + IMAGES_AT_ONCE, len(scenes))))
        batch = batch.to(next(detector.parameters()).device)
        output = detector(batch.images, batch.sizes_hw)
        for name, head in heads.items():
            for way, likely in _read(head, output.queries[output.valid]).items():
                found[name][way].extend(_split(output, likely.cpu()))
    return {
        name: {way: judge_found(scenes, own, TEXTS.encode_texts) for way, own in ways.items()}
        for name, ways in found.items()
    }


def _read(head: PrototypeHead, queries: Tensor) -> dict[str, Tensor]:
    """(K, C) how likely each of the 64 names is, by the list and by the prototypes."""
    semantics = head(queries)
    classes = class_vectors().matrix.to(queries.device)
    listed = head.class_logits(semantics, classes).softmax(dim=-1)
    kinds = torch.tensor([NAMES.index(name) for name in head.names], device=queries.device)
    merged = torch.zeros_like(listed).index_add(1, kinds, semantics.weights)
    return {"list": listed, "free": merged}


def _split(output: DetectorOutput, likely: Tensor) -> Iterator[Found]:
    """(K, C) of all valid queries, image after image -> the detections of each."""
    side_h, side_w = output.sizes_hw[0].tolist()
    boxes = to_record(output.boxes_cxcywh[output.valid], width=side_w, height=side_h).cpu()
    scores = output.scores()[output.valid].cpu()
    start = 0
    for count in output.valid.sum(1).tolist():
        own = slice(start, start + count)
        sure, kinds = likely[own].max(1)
        sure = sure * scores[own]
        order = sure.argsort(descending=True, stable=True)
        yield Found(
            Predictions(
                boxes[own][order].double().numpy(),
                sure[order].double().numpy(),
                kinds[order].numpy(),
            ),
            None,
            None,
        )
        start += count
