"""From a query to the prompt that the namer reads.

B images, N objects, D the detector's width, D_t the prompts' width, C channels, K a glimpse's side.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from opendet.model.backbone import Residual, convolve

GLIMPSE_CHANNELS = (32, 48, 64, 96)


class QueryPrompts(nn.Module):
    """A projection of the query alone, as GenerateU's."""

    def __init__(self, width: int, prompt_width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, prompt_width)

    def forward(self, queries: Tensor, **_: Tensor) -> Tensor:
        """(N, D) -> unit vectors (N, D_t), fp32."""
        return functional.normalize(self.project(queries.float()).float(), dim=-1)


class GlimpsePrompts(nn.Module):
    """The query and a look at the image's own pixels in its box.

    A detector trained from nothing learns where things are long before its queries know texture
    and shape. A glimpse shows each object at one size and place, so a name takes few steps: for a
    detector without pretrained weights (docs/log.md has the numbers).
    """

    def __init__(self, width: int, prompt_width: int, *, side: int) -> None:
        super().__init__()
        self.side = side
        first, second, third, last = GLIMPSE_CHANNELS
        hidden = max(width, prompt_width)
        self.look = nn.Sequential(
            convolve(3, first, stride=2),
            convolve(first, second),
            convolve(second, third, stride=2),
            Residual(third),
            convolve(third, last, stride=2),
            nn.Flatten(),
            nn.Linear(last * math.ceil(side / 8) ** 2, hidden),
        )
        self.ask = nn.Linear(width, hidden)
        self.fuse = nn.Sequential(nn.ReLU(), nn.Linear(hidden, prompt_width))

    def forward(
        self, queries: Tensor, *, images: Tensor, places: Tensor, boxes_in_images: Tensor
    ) -> Tensor:
        """(N, D) -> unit vectors (N, D_t), fp32.

        images (B, 3, H, W) normalised, places (N,) the image of each query, boxes_in_images (N, 4)
        cxcywh in [0, 1] of the padded image; no gradient goes through the boxes.
        """
        glimpses = sample_boxes(images, places, boxes_in_images.detach(), side=self.side)
        prompts = self.fuse(self.look(glimpses) + self.ask(queries.float()))
        return functional.normalize(prompts.float(), dim=-1)


def sample_boxes(maps: Tensor, places: Tensor, boxes_cxcywh: Tensor, *, side: int) -> Tensor:
    """Bilinear samples at the centres of a K x K grid over each box: (N, C, K, K), fp32.

    maps (B, C, H, W); box n (N, 4), in [0, 1] of the map, lies in map places[n].
    """
    steps = (torch.arange(side, device=maps.device) + 0.5) / side - 0.5  # (K,)
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)  # (K, K, 2)
    boxes = boxes_cxcywh.float()[:, None, None]  # (N, 1, 1, 4)
    grids = 2 * (boxes[..., :2] + boxes[..., 2:] * offsets) - 1  # (N, K, K, 2)
    parts, order = [], []
    for image, features in enumerate(maps.float()):
        here = (places == image).nonzero().squeeze(1)
        order.append(here)
        grid = grids[here].flatten(0, 1)[None]  # (1, n K, K, 2)
        samples = functional.grid_sample(features[None], grid, align_corners=False)
        parts.append(samples[0].unflatten(1, (len(here), side)).transpose(0, 1))  # type: ignore[no-untyped-call]
    return torch.cat(parts)[torch.cat(order).argsort()]
