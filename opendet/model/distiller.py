"""VLD-M, the prompts distiller: a query reads around its box what makes an object an image.

CLIP has learned from whole images; a region's query knows the object alone. Reading the backbone's
and the encoder's features around the box fills in the background (spec/open_det.md A.2).
B images, S tokens, N objects, n the most objects of one image, D width, D_t the prompts' width.
"""

import torch
from torch import Tensor, nn

from opendet.model.config import DetectorConfig
from opendet.model.deformable_attention import DeformableAttention
from opendet.model.features import FeatureTokens
from opendet.model.heads import Perceptron
from opendet.model.positions import sine_embedding


class Distiller(nn.Module):
    """Queries and their boxes -> what the two sets of features say of them."""

    def __init__(self, config: DetectorConfig, prompt_width: int) -> None:
        super().__init__()
        self.position_head = Perceptron(2 * config.width, config.width)
        self.from_backbone = ContextReader(config, prompt_width)
        self.from_encoder = ContextReader(config, prompt_width)

    def forward(
        self,
        queries: Tensor,
        places: Tensor,
        boxes_cxcywh: Tensor,
        features: FeatureTokens,
        memory: FeatureTokens,
    ) -> Tensor:
        """queries (N, D) of the images `places` (N,), boxes (N, 4) in [0, 1] of the unpadded image;
        features and memory (B, S, D) -> (N, 2 D_t). No gradient goes into the boxes."""
        images = len(memory.tokens)
        slots = places_in_image(places, images)
        most = int(slots.max()) + 1 if len(slots) else 1  # sampling needs a query to sample for
        boxes = boxes_cxcywh.detach().float()
        grouped = queries.new_zeros(images, most, queries.shape[-1])
        grouped[places, slots] = queries
        references = boxes.new_full((images, most, 4), 0.5)
        references[places, slots] = boxes
        return self.read(grouped, references, features, memory)[places, slots]

    def read(
        self, grouped: Tensor, references: Tensor, features: FeatureTokens, memory: FeatureTokens
    ) -> Tensor:
        """grouped (B, n, D) and references (B, n, 4) of each image's objects -> (B, n, 2 D_t)."""
        positions = self.position_head(sine_embedding(references, grouped.shape[-1] // 2))
        return torch.cat(
            (
                self.from_backbone(grouped, positions, references, _exact(features)),
                self.from_encoder(grouped, positions, references, _exact(memory)),
            ),
            -1,
        )


class ContextReader(nn.Module):
    """Deformable cross-attention, feed-forward reweighting and a projection to prompts."""

    def __init__(self, config: DetectorConfig, prompt_width: int) -> None:
        super().__init__()
        width = config.width
        self.attention = DeformableAttention(
            width, heads=config.heads, levels=config.levels, points=config.points
        )
        self.norm = nn.LayerNorm(width)
        self.reweight = Perceptron(width, config.distiller_hidden, width)
        self.gate = config.distiller_gate
        self.project = nn.Sequential(
            nn.Linear(width, prompt_width), nn.GELU(), nn.Linear(prompt_width, prompt_width)
        )

    def forward(
        self, queries: Tensor, positions: Tensor, references: Tensor, features: FeatureTokens
    ) -> Tensor:
        """queries, positions (B, n, D), references (B, n, 4) -> (B, n, D_t)."""
        read = self.norm(queries + self.attention(queries + positions, references, features))
        weight = self.reweight(read)
        read = read * weight.sigmoid() if self.gate else read + weight
        output: Tensor = self.project(read)
        return output


def _exact(features: FeatureTokens) -> FeatureTokens:
    """In fp32: a detector that ran in bf16 may be asked for prompts outside of autocast."""
    return features.with_tokens(features.tokens.float())


def places_in_image(places: Tensor, images: int) -> Tensor:
    """(N,) the image of each object -> (N,) its number among the objects of its image."""
    order = places.argsort(stable=True)
    counts = torch.bincount(places, minlength=images)
    starts = counts.cumsum(0) - counts
    numbers = torch.empty_like(places)
    numbers[order] = torch.arange(len(places), device=places.device) - starts[places[order]]
    return numbers
