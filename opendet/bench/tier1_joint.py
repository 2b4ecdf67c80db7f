"""Tier 1: what the joint loss teaches a score, against the focal loss and against its other forms.

A toy scorer sees what a query knows of itself: whether there is an object, and, blurred, the
alignment s of its name and the IoU u of its box. The losses are the real ones. A detection counts
where its box is good enough and its name is right, which happens with probability s. The world's
numbers are chosen so that the focal loss begins where spec/evidence.md G.3 has it, on seeds 0 to 2;
they are the same for every form, and the bench measures other seeds. N queries of a step, P of them
objects, first; D features.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Beta

from opendet.bench.harness import Place, Row, at_least, at_most, code_of, mean_and_error, paired_by
from opendet.model.heads import OBJECT_PRIOR
from opendet.train.losses import focal_loss, joint_target, quality_loss
from opendet.train.randomness import reproducible

SEEDS = range(10, 14)
STEPS = 600
LEARNING_RATE = 1e-2
FEATURES, HIDDEN = 16, 64
OBJECTS, BACKGROUND = 64, 9
"""Objects of a step, and background queries of each."""
EXAMINED = 4000
"""Objects at the end."""
IOU, ALIGNMENT = (5.5, 2.0), (6.0, 1.5)
"""Beta distributions of u and s."""
BLUR = 0.7
"""Deviation of what a query sees of u and s, on the scale of their logits."""
EVIDENCE = 2.5
"""How far objects lie from background, in deviations of each, to either side of zero."""
ALPHA = 0.25
SATURATED = 0.97

Form = Literal["focal", "literal", "qfl", "completed"]
FORMS: tuple[Form, ...] = ("focal", "literal", "qfl", "completed")
Scores = dict[str, float]


def measure(place: Place) -> Iterator[Row]:
    """Four forms over four seeds; gates of spec/evidence.md G.3 for the completed one."""
    code = code_of(__name__)
    found: dict[Form, list[Scores]] = {form: [] for form in FORMS}
    for seed, form in product(SEEDS, FORMS):
        settings = {"form": form, "seed": seed}
        work = partial(run_form, form, seed=seed)
        found[form].append(place.unit(settings, code, work, what=f"{form}, seed {seed}"))
    if place.done < place.asked:
        return
    yield _against_focal("AP75: completed - focal", found, "completed", "ap75", 5)
    yield _against_focal("AP75: qfl - focal", found, "qfl", "ap75")
    yield _against_focal("AP75: literal - focal", found, "literal", "ap75")
    yield _against_focal("AP50: completed - focal", found, "completed", "ap50")
    for form in FORMS:
        correlation, error = mean_and_error([one["correlation"] for one in found[form]])
        metric, detail = f"rank correlation of p with s u: {form}", f"error {error:.2g}"
        held = form == "completed"
        yield (
            at_least(metric, correlation, 0.4, detail)
            if held
            else Row(metric, correlation, detail=detail)
        )
    for form in FORMS:
        share, error = mean_and_error([one["saturated"] for one in found[form]])
        metric, detail = f"objects with p > {SATURATED}, %: {form}", f"error {error:.2g}"
        held = form == "completed"
        yield at_most(metric, share, 5, detail) if held else Row(metric, share, detail=detail)


def run_form(form: Form, *, seed: int, steps: int = STEPS) -> Scores:
    """Train a scorer with a form of the loss and examine it on new queries."""
    with reproducible(torch.device("cpu"), threads=1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mixing = torch.linalg.qr(torch.randn(FEATURES, FEATURES)).Q
        last = nn.Linear(HIDDEN, 1)
        nn.init.constant_(last.bias, torch.logit(torch.tensor(OBJECT_PRIOR)).item())
        scorer = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), last)
        optimizer = torch.optim.Adam(scorer.parameters(), lr=LEARNING_RATE)
        for _ in range(steps):
            seen = _draw(OBJECTS, mixing)
            loss = _loss(form, scorer(seen.features)[:, 0], seen) / OBJECTS
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return _examine(scorer, _draw(EXAMINED, mixing))


@dataclass(frozen=True, slots=True)
class _Seen:
    """N queries, of which the first P are objects."""

    features: Tensor
    """(N, D)"""
    iou: Tensor
    """(P,) u"""
    alignment: Tensor
    """(P,) s"""


def _draw(objects: int, mixing: Tensor) -> _Seen:
    """Background sees qualities like those of objects: they do not tell what is an object."""
    count = objects * (1 + BACKGROUND)
    iou, alignment = (
        Beta(torch.tensor(a), torch.tensor(b)).sample((count,)) for a, b in (IOU, ALIGNMENT)
    )
    shown = torch.randn(count, FEATURES)
    shown[:, 0] += torch.where(torch.arange(count) < objects, EVIDENCE, -EVIDENCE)
    for column, quality in ((1, iou), (2, alignment)):
        shown[:, column] = torch.logit(quality, eps=1e-3) + BLUR * shown[:, column]
    shown[:, 3:] *= 0.1  # channels that tell nothing
    return _Seen(shown @ mixing, iou[:objects], alignment[:objects])


def _loss(form: Form, logits: Tensor, seen: _Seen) -> Tensor:
    """Summed over the queries: (N,) logits."""
    objects = len(seen.iou)
    targets = torch.zeros_like(logits)
    if form == "focal":
        targets[:objects] = 1
        return focal_loss(logits, targets)
    own = logits[:objects].sigmoid()
    targets[:objects] = joint_target(own, seen.alignment, seen.iou, alpha=ALPHA)
    return quality_loss(logits, targets, form)


@torch.no_grad()
def _examine(scorer: nn.Module, seen: _Seen) -> Scores:
    scores = scorer(seen.features)[:, 0].sigmoid()  # (N,)
    objects = len(seen.iou)
    found = scores[:objects]
    named = torch.rand(objects) < seen.alignment
    return {
        "ap50": 100 * _average_precision(scores, named & (seen.iou >= 0.5)),
        "ap75": 100 * _average_precision(scores, named & (seen.iou >= 0.75)),
        "correlation": _rank_correlation(found, seen.alignment * seen.iou),
        "saturated": 100 * float((found > SATURATED).float().mean()),
    }


def _average_precision(scores: Tensor, right: Tensor) -> float:
    """Area under precision over recall: (N,) scores, (P,) whether the first P are right. An object
    whose only detection is wrong stays unfound."""
    hits = torch.zeros(len(scores), dtype=torch.float64)
    hits[: len(right)] = right.double()
    hits = hits[scores.argsort(descending=True)]
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
    best_from_here = precision.flip(0).cummax(0).values.flip(0)
    return float((best_from_here * hits).sum() / len(right))


def _rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's, of values without ties."""
    ranks = torch.stack([values.argsort().argsort().double() for values in (first, second)])
    return float(torch.corrcoef(ranks)[0, 1])


def _against_focal(
    metric: str, found: dict[Form, list[Scores]], form: Form, score: str, goal: float | None = None
) -> Row:
    return paired_by(metric, found[form], found["focal"], score, goal)
