"""Tier 1: MAL's mask and the one-to-many assigner, on many random images against their definition.

Nothing is trained: each of these is a count of violations, and none is allowed.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from opendet.bench.harness import Place, Row, at_most
from opendet.bench.synthetic import NAMES
from opendet.bench.tier1_world import text_vectors
from opendet.train.assignment import assign_many
from opendet.train.losses import same_name_targets
from opendet.train.matching import Matches

# B images, Q queries, M objects of one

IMAGES, QUERIES, OBJECTS = 2000, 60, 12
MOST, THRESHOLD = 6, 0.4
SEEDS = range(3)


def measure(_: Place) -> Iterator[Row]:
    """Cells and images that break a rule, over three seeds."""
    told = f"{len(SEEDS)} x {IMAGES} images"
    for tau, near in ((0.99, False), (0.9, True)):
        wrong = sum(mask_errors(seed, tau=tau, near_is_same=near) for seed in SEEDS)
        yield at_most(f"MAL's mask, tau {tau}: wrong cells", wrong, 0, told)
    for rule in ("object without a query", f"object with more than {MOST}", "query with two"):
        wrong = sum(assigner_errors(seed)[rule] for seed in SEEDS)
        yield at_most(f"one-to-many assigner: {rule}", wrong, 0, told)


def mask_errors(seed: int, *, tau: float, near_is_same: bool) -> int:
    """Cells that differ from "the same name".

    Each image also holds a near copy of its first name, at a cosine of 0.95: another name for a tau
    of 0.99, the same for 0.9.
    """
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(len(NAMES), (IMAGES, OBJECTS), generator=generator)  # duplicates abound
    texts = text_vectors(64)[classes]  # (B, M, D_t)
    texts[:, -1] = _turned(texts[:, 0], 0.95, generator)
    kinds = classes.clone()
    kinds[:, -1] = classes[:, 0] if near_is_same else len(NAMES)
    there = torch.rand(classes.shape, generator=generator) < 0.8
    found, counted = same_name_targets(texts, there, threshold=tau)
    both = there[:, :, None] & there[:, None]
    wanted = (kinds[:, :, None] == kinds[:, None]) & both
    return int(((found > 0) != wanted).sum() + (counted != both).sum())


def assigner_errors(seed: int) -> dict[str, int]:
    """Rule -> how often it is broken. Qualities come in steps, so that ties abound."""
    generator = torch.Generator().manual_seed(seed)
    quality = torch.randint(0, 20, (IMAGES, QUERIES, OBJECTS), generator=generator) / 19
    valid = torch.rand(IMAGES, QUERIES, generator=generator) < 0.9
    there = torch.rand(IMAGES, OBJECTS, generator=generator) < 0.7
    match = assign_many(quality, valid, there, most=MOST, threshold=THRESHOLD)
    of_object = _counts(match, match.targets, OBJECTS)  # (B, M)
    of_query = _counts(match, match.queries, QUERIES)  # (B, Q)
    return {
        "object without a query": int((there & (of_object == 0)).sum()),
        f"object with more than {MOST}": int((of_object > MOST).sum()),
        "query with two": int((of_query > 1).sum()),
    }


def _counts(match: Matches, of: Tensor, size: int) -> Tensor:
    """(B, size) pairs of each object or query of each image."""
    flat = torch.bincount(match.images * size + of, minlength=IMAGES * size)
    return flat.view(IMAGES, size)


def _turned(units: Tensor, cosine: float, generator: torch.Generator) -> Tensor:
    """(B, D) unit -> (B, D) unit at that cosine from them."""
    noise = torch.randn(units.shape, generator=generator)
    across = noise - (noise * units).sum(-1, keepdim=True) * units
    across = torch.nn.functional.normalize(across, dim=-1)
    turned: Tensor = cosine * units + (1 - cosine**2) ** 0.5 * across
    return turned
