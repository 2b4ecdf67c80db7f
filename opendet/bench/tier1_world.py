"""A simulated detector's queries: what the aligner sees, without a detector.

Names, tiers and frequencies are SynthOED's; a query is made of its object's colour and shape. What
was chosen here (width, noise, how much of a look is the name's own) is the same for every arm.
B images, Q queries, M objects of one image, D width of a query, D_t of a text vector.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from opendet.annotators.hash_text import HashTextEncoder
from opendet.bench.synthetic import COLOURS, COPIES, NAMES, SHAPES, SHARE_OF_TIER, TIERS, NameTier

TIERS_SHOWN: tuple[NameTier, ...] = ("frequent", "rare", "unseen")


def text_vectors(width: int) -> Tensor:
    """(64, D_t) unit rows of the names, from the compositional hash encoder."""
    return torch.from_numpy(HashTextEncoder(width).encode_texts(NAMES))


def frequencies() -> Tensor:
    """(64,) how often training shows each name, relative to a frequent one; the unseen never."""
    return torch.tensor([SHARE_OF_TIER[TIERS[name]] for name in NAMES])


def accuracy_by_tier(right: Tensor, classes: Tensor) -> dict[str, float]:
    """(N,) bool and (N,) numbers of names -> the share that is right, in percent."""
    shares: dict[str, float] = {}
    for tier in TIERS_SHOWN:
        own = torch.tensor([number for number, name in enumerate(NAMES) if TIERS[name] == tier])
        shares[tier] = 100 * float(right[torch.isin(classes, own)].float().mean())
    return shares


@dataclass(frozen=True, slots=True)
class Scenes:
    """Images as the aligner sees them. The first M queries are the objects', matched in order."""

    queries: Tensor
    """(B, Q, D)"""
    classes: Tensor
    """(B, M) int64 numbers of names"""
    there: Tensor
    """(B, M) bool: an image has 2 to M objects"""


@dataclass(frozen=True, slots=True)
class QueryWorld:
    """How a query looks: its colour and its shape, each a direction, and noise.

    A part of the look is the name's own (`own`), as it is in the text vectors.
    """

    seed: int
    width: int = 64
    own: float = 0.5
    noise: float = 0.22
    """Deviation of each channel; a look is a unit vector."""
    objects: int = 8
    background: int = 8
    """Queries of an image that match nothing."""

    def looks(self) -> Tensor:
        """(64, D) what the queries of each name have in common, unit rows."""
        generator = torch.Generator().manual_seed(1000 + self.seed)
        colours = _directions(len(COLOURS), self.width, generator)
        shapes = _directions(len(SHAPES), self.width, generator)
        own = _directions(len(NAMES), self.width, generator)
        both = (colours[:, None] + shapes[None]).flatten(0, 1)
        return functional.normalize(both + self.own * own, dim=-1)

    def draw(self, looks: Tensor, images: int, generator: torch.Generator) -> Scenes:
        """Training images: names by frequency, and 60 % of the objects copy the image's base."""
        weights = frequencies()
        count = images * self.objects
        each = torch.multinomial(weights, count, True, generator=generator).view(images, -1)
        base = torch.multinomial(weights, images, True, generator=generator)
        copied = torch.rand(each.shape, generator=generator) < COPIES["train"]
        classes = torch.where(copied, base[:, None], each)  # (B, M)
        present = torch.randint(2, self.objects + 1, (images, 1), generator=generator)
        shape = (images, self.background, self.width)
        spread = (self.noise**2 + 1 / self.width) ** 0.5  # as long as an object's query
        background = spread * torch.randn(shape, generator=generator)
        queries = torch.cat((self.see(looks[classes], generator), background), 1)
        return Scenes(queries, classes, torch.arange(self.objects) < present)

    def see(self, looks: Tensor, generator: torch.Generator) -> Tensor:
        """Looks (..., D) -> queries (..., D)."""
        return looks + self.noise * torch.randn(looks.shape, generator=generator)


def _directions(count: int, width: int, generator: torch.Generator) -> Tensor:
    return functional.normalize(torch.randn(count, width, generator=generator), dim=-1)
