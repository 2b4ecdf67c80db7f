"""Tier 1: what the masked alignment loss (MAL) and the bidirectional aligner (BVLA-M) are good for.

The real `Aligner` and the real losses learn from simulated queries; an arm differs from another in
nothing but its loss or its direction: same images, same first weights, same order. The settings
were chosen on seeds 0 and 1; the bench measures others.
"""

from collections.abc import Iterator
from functools import partial
from itertools import product
from statistics import fmean
from typing import Literal

import torch
from torch import Tensor

from opendet.bench.harness import Place, Row, code_of, paired_by
from opendet.bench.synthetic import NAMES
from opendet.bench.tier1_world import QueryWorld, Scenes, accuracy_by_tier, text_vectors
from opendet.model.aligner import Aligner
from opendet.train.losses import alignment_loss, same_name_targets
from opendet.train.randomness import reproducible

# B images, Q queries, M objects of one, D width of a query, D_t of a text vector

SEEDS = range(10, 15)
STEPS = 500
IMAGES = 16
"""In a batch."""
LEARNING_RATE = 4e-3
TEXT_WIDTH = 64
EXAMINED = 40
"""Queries of each name at the end."""

Direction = Literal["vision_to_language", "bidirectional"]
Loss = Literal["one_hot", "masked"]
Arm = tuple[Direction, Loss]
Scores = dict[str, float]
ARMS: tuple[Arm, ...] = (
    ("vision_to_language", "one_hot"),
    ("vision_to_language", "masked"),
    ("bidirectional", "one_hot"),
    ("bidirectional", "masked"),
)


def measure(place: Place) -> Iterator[Row]:
    """Four arms over five seeds; gates of spec/evidence.md G.3."""
    found = _all_arms(place)
    if found is None:
        return
    both, one_way = found["bidirectional", "masked"], found["vision_to_language", "masked"]
    both_hot = found["bidirectional", "one_hot"]
    one_way_hot = found["vision_to_language", "one_hot"]
    yield paired_by("MAL: accuracy, frequent", both, both_hot, "frequent", 4)
    yield paired_by("MAL: accuracy, rare", both, both_hot, "rare")
    yield paired_by("MAL: accuracy, unseen", both, both_hot, "unseen")
    yield paired_by("MAL: s of true pairs", both, both_hot, "s_true", 0.2)
    yield paired_by("MAL: AUC of pairs", both, both_hot, "auc", 0, allowing=True)
    yield paired_by("MAL one way: accuracy, frequent", one_way, one_way_hot, "frequent")
    yield paired_by("MAL one way: accuracy, rare", one_way, one_way_hot, "rare")
    yield paired_by("MAL one way: accuracy, unseen", one_way, one_way_hot, "unseen", 6)
    yield paired_by("BVLA-M with MAL: accuracy, rare and unseen", both, one_way, "few", 2)
    yield paired_by(
        "BVLA-M with MAL: accuracy, frequent", both, one_way, "frequent", -2, allowing=True
    )
    yield paired_by("BVLA-M without MAL: accuracy, rare and unseen", both_hot, one_way_hot, "few")


def run_arm(direction: Direction, loss: Loss, *, seed: int, steps: int = STEPS) -> Scores:
    """Train an aligner and examine it on all 64 names."""
    with reproducible(torch.device("cpu"), threads=1):
        return _run(direction, loss, seed, steps)


def _run(direction: Direction, loss: Loss, seed: int, steps: int) -> Scores:
    world, text = QueryWorld(seed), text_vectors(TEXT_WIDTH)
    looks = world.looks()
    torch.manual_seed(seed)
    aligner = Aligner(world.width, TEXT_WIDTH, direction=direction)
    optimizer = torch.optim.Adam(aligner.parameters(), lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        cost = _cost(aligner, world.draw(looks, IMAGES, generator), text, loss)
        optimizer.zero_grad()
        cost.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    classes = torch.arange(len(NAMES)).repeat_interleave(EXAMINED)
    return _examine(aligner, world.see(looks[classes], generator), classes, text)


def _cost(aligner: Aligner, scenes: Scenes, text: Tensor, loss: Loss) -> Tensor:
    """The alignment loss of a batch, divided by its positive cells."""
    there = scenes.there
    texts = text[scenes.classes] * there[..., None]  # (B, M, D_t)
    # no cosine is above 2: every object is then the same as itself alone
    same, _ = same_name_targets(texts, there, threshold=0.99 if loss == "masked" else 2.0)
    logits = aligner(scenes.queries, texts)  # (B, Q, M)
    objects = there.shape[1]
    targets = torch.zeros_like(logits)
    targets[:, :objects] = same
    background = there.new_ones(len(there), logits.shape[1] - objects)
    counted = torch.cat((there, background), 1)[:, :, None] & there[:, None]
    total = alignment_loss(logits, targets, counted, modulation="focal")
    return total / targets[counted].sum()


@torch.no_grad()
def _examine(aligner: Aligner, queries: Tensor, classes: Tensor, text: Tensor) -> Scores:
    """queries (N, D) of the names `classes` (N,), against all names."""
    probability = aligner(queries[None], text[None])[0].sigmoid()  # (N, 64)
    true = torch.nn.functional.one_hot(classes, len(NAMES)).bool()
    accuracy = accuracy_by_tier(probability.argmax(1) == classes, classes)
    return {
        **accuracy,
        "few": fmean((accuracy["rare"], accuracy["unseen"])),
        "s_true": float(probability[true].mean()),
        "auc": _area_under_curve(probability[true], probability[~true]),
    }


def _area_under_curve(positives: Tensor, negatives: Tensor) -> float:
    """How often a positive scores above a negative."""
    ranks = torch.cat((positives, negatives)).argsort().argsort()[: len(positives)].double()
    below = ranks.sum() - len(positives) * (len(positives) - 1) / 2
    return float(below / (len(positives) * len(negatives)))


def _all_arms(place: Place) -> dict[Arm, list[Scores]] | None:
    code = code_of(__name__)
    found: dict[Arm, list[Scores]] = {arm: [] for arm in ARMS}
    for seed, (direction, loss) in product(SEEDS, ARMS):
        scores = place.unit(
            {"direction": direction, "loss": loss, "seed": seed},
            code,
            partial(run_arm, direction, loss, seed=seed),
            what=f"{direction}, {loss}, seed {seed}",
        )
        found[direction, loss].append(scores)
    return None if place.done < place.asked else found
