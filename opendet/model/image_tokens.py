"""The encoder's maps as a few tokens that a language model reads (LLMDet, spec/llmdet.md C.2).

B images, D the detector's width, H the language model's, G the side of a grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from opendet.model.features import FeatureTokens
from opendet.model.positions import sine_embedding


@dataclass(frozen=True, slots=True)
class Grid:
    """What one map becomes."""

    level: int
    """Of the detector's maps, the finest is 0."""
    side: int
    """G: the map is sampled to G x G."""


class Connector(nn.Module):
    """Features and where they are -> the language model's space: LLaVA's projector."""

    def __init__(self, width: int, language_width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Linear(width, language_width), nn.GELU(), nn.Linear(language_width, language_width)
        )
        self.place = nn.Linear(2 * width, language_width)

    def forward(self, features: Tensor, boxes_cxcywh: Tensor) -> Tensor:
        """features (..., D), boxes (..., 4) in [0, 1] of the unpadded image -> (..., H)."""
        where = sine_embedding(boxes_cxcywh, features.shape[-1] // 2)  # (..., 2 D)
        tokens: Tensor = self.project(features) + self.place(where)
        return tokens


class ImageTokens(nn.Module):
    """[coarse grid | separator | finer grid ...] of each image."""

    def __init__(self, grids: Sequence[Grid], width: int, language_width: int) -> None:
        super().__init__()
        self.grids = tuple(grids)
        self.connector = Connector(width, language_width)
        self.separator_tokens: nn.Parameter | None = None
        if len(grids) > 1:  # one without an element has no gradient, and ranks want one of each
            self.separator_tokens = nn.Parameter(torch.empty(len(grids) - 1, language_width))
            nn.init.normal_(self.separator_tokens, std=language_width**-0.5)

    def __len__(self) -> int:
        return sum(grid.side**2 for grid in self.grids) + len(self.grids) - 1

    def forward(self, memory: FeatureTokens) -> Tensor:
        """(B, tokens, H)"""
        parts: list[Tensor] = []
        for number, grid in enumerate(self.grids):
            if self.separator_tokens is not None and number:
                separator = self.separator_tokens[number - 1].expand(len(memory.tokens), 1, -1)
                parts.append(separator.to(parts[0]))
            cells = grid_cells(grid.side, memory.tokens.device).expand(len(memory.tokens), -1, -1)
            parts.append(self.connector(sample_grid(memory, grid), cells))
        return torch.cat(parts, 1)


def grid_cells(side: int, device: torch.device) -> Tensor:
    """(G * G, 4) the grid's cells as cxcywh in [0, 1], row by row."""
    steps = (torch.arange(side, device=device, dtype=torch.float32) + 0.5) / side
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    sides = torch.full_like(x, 1 / side)
    return torch.stack((x, y, sides, sides), -1).flatten(0, 1)


def sample_grid(memory: FeatureTokens, grid: Grid) -> Tensor:
    """(B, G * G, D): one level's map of the unpadded image, resized to G x G, bilinear.

    As `interpolate` of each image's own part of the map would: no sample reads the padding.
    """
    maps = memory.level(grid.level)  # (B, D, h, w)
    extents = memory.extents_wh[:, grid.level]  # (B, 2) in cells
    centres = grid_cells(grid.side, maps.device)[:, :2]  # (G * G, 2)
    last = (extents.ceil() - 0.5)[:, None]
    places = (centres * extents[:, None]).clamp(min=0.5).minimum(last)  # (B, G * G, 2) in cells
    sizes_wh = places.new_tensor([maps.shape[-1], maps.shape[-2]])
    sampling = (2 * places / sizes_wh - 1)[:, None]  # (B, 1, G * G, 2)
    samples = functional.grid_sample(maps.float(), sampling, align_corners=False)
    return samples.squeeze(2).transpose(1, 2).to(maps)
