"""From a query to the prompt that the namer reads.

B images, Q queries, D the detector's width, D_t the prompts' width, K the grid's side.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from opendet.model.features import FeatureTokens


class QueryPrompts(nn.Module):
    """A projection of the query alone, as GenerateU's."""

    def __init__(self, width: int, prompt_width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, prompt_width)

    def forward(self, queries: Tensor, boxes_cxcywh: Tensor, features: FeatureTokens) -> Tensor:  # noqa: ARG002
        """(B, Q, D) -> unit vectors (B, Q, D_t), fp32."""
        return functional.normalize(self.project(queries).float(), dim=-1)


class RegionPrompts(nn.Module):
    """The query and the neck's features on a grid in its box.

    A query knows where its object is and little of its looks; the grid shows the object at one
    size and place whatever the box, which is what a name is learnt from in few steps.
    """

    def __init__(self, width: int, prompt_width: int, *, level: int, grid: int) -> None:
        super().__init__()
        self.level, self.grid = level, grid
        hidden = max(width, prompt_width)
        self.look = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(max(1, width // 16), width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(width * ((grid + 1) // 2) ** 2, hidden),
        )
        self.ask = nn.Linear(width, hidden)
        self.fuse = nn.Sequential(nn.ReLU(), nn.Linear(hidden, prompt_width))

    def forward(self, queries: Tensor, boxes_cxcywh: Tensor, features: FeatureTokens) -> Tensor:
        """queries (B, Q, D), boxes (B, Q, 4) -> unit vectors (B, Q, D_t), fp32."""
        crops = sample_boxes(features, boxes_cxcywh.detach(), level=self.level, grid=self.grid)
        looks = self.look(crops.flatten(0, 1)).view(*queries.shape[:2], -1)
        prompts = self.fuse(looks + self.ask(queries))
        return functional.normalize(prompts.float(), dim=-1)


def sample_boxes(features: FeatureTokens, boxes_cxcywh: Tensor, *, level: int, grid: int) -> Tensor:
    """Bilinear samples (B, Q, D, K, K) at the centres of a K x K grid over each box."""
    images, queries = boxes_cxcywh.shape[:2]
    steps = (torch.arange(grid, device=boxes_cxcywh.device) + 0.5) / grid - 0.5  # (K,)
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)  # (K, K, 2)
    boxes = boxes_cxcywh.float()[:, :, None, None]  # (B, Q, 1, 1, 4)
    centres, sides = boxes[..., :2], boxes[..., 2:]
    places = (centres + sides * offsets) * features.ratios_wh()[:, level, None, None, None]
    places = 2 * places.reshape(images, queries, grid * grid, 2) - 1
    samples = functional.grid_sample(features.level(level).float(), places, align_corners=False)
    return samples.transpose(1, 2).reshape(images, queries, -1, grid, grid)
