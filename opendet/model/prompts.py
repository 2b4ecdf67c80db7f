"""From a query to the prompt that the namer reads.

B images, N objects, D the detector's width, D_t the prompts' width, C channels, K a glimpse's side.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from opendet.model.backbone import Residual, convolve
from opendet.model.config import DetectorConfig
from opendet.model.distiller import Distiller
from opendet.model.features import sizes_wh
from opendet.model.outputs import DetectorOutput

GLIMPSE_CHANNELS = (32, 48, 64, 96)


class Prompts(nn.Module):
    """P_vl: the query's projection, fused with what VLD-M reads and what a glimpse shows.

    With neither it is GenerateU's projection of the query alone.
    """

    def __init__(self, config: DetectorConfig, prompt_width: int) -> None:
        super().__init__()
        self.project = nn.Linear(config.width, prompt_width)
        self.distiller = Distiller(config, prompt_width) if config.prompt == "distiller" else None
        self.glimpse = (
            Glimpse(prompt_width, side=config.glimpse_side) if config.glimpse_side else None
        )
        parts = 1 + 2 * (self.distiller is not None) + (self.glimpse is not None)
        self.fuse = nn.Linear(parts * prompt_width, prompt_width) if parts > 1 else None

    def forward(
        self, output: DetectorOutput, places: Tensor, queries: Tensor, boxes_cxcywh: Tensor
    ) -> Tensor:
        """The prompts of queries (N,) of the images `places` (N,): (N, D_t) unit vectors, fp32.

        boxes_cxcywh (N, 4) in [0, 1] of the unpadded image, where they look.
        """
        chosen = output.queries[places, queries].float()  # (N, D)
        parts = [self.project(chosen)]
        if self.distiller is not None:
            read = self.distiller(chosen, places, boxes_cxcywh, output.features, output.memory)
            parts.append(read)
        if self.glimpse is not None:
            extents = output.sizes_hw.flip(-1) / boxes_cxcywh.new_tensor(output.images.shape[:1:-1])
            boxes_in_images = boxes_cxcywh * extents[places].repeat(1, 2)
            parts.append(self.glimpse(output.images, places, boxes_in_images))
        return self._fused(parts)

    def of_all(self, output: DetectorOutput) -> Tensor:
        """The same of every query there is room for, (B, Q, D_t): what an exporter's graph can do,
        for which nothing may depend on what was found."""
        queries, boxes_cxcywh = output.queries.float(), output.boxes_cxcywh
        parts = [self.project(queries)]
        if self.distiller is not None:
            read = self.distiller.read(queries, boxes_cxcywh, output.features, output.memory)
            parts.append(read)
        if self.glimpse is not None:
            height, width = output.images.shape[-2:]
            padded_wh = sizes_wh(((height, width),), boxes_cxcywh)  # (1, 2)
            extents = (output.sizes_hw.flip(-1) / padded_wh).repeat(1, 2)  # (B, 4)
            parts.append(self.glimpse.of_all(output.images, boxes_cxcywh * extents[:, None]))
        return self._fused(parts)

    def _fused(self, parts: list[Tensor]) -> Tensor:
        prompts = parts[0] if self.fuse is None else self.fuse(torch.cat(parts, -1))
        return functional.normalize(prompts.float(), dim=-1)


class Glimpse(nn.Module):
    """A look at the image's own pixels in a box.

    A detector trained from nothing learns where things are long before its queries know texture
    and shape. A glimpse shows each object at one size and place, so a name takes few steps: for a
    detector without pretrained weights (docs/log.md has the numbers).
    """

    def __init__(self, prompt_width: int, *, side: int) -> None:
        super().__init__()
        self.side = side
        first, second, third, last = GLIMPSE_CHANNELS
        hidden = max(last, prompt_width)
        self.look = nn.Sequential(
            convolve(3, first, stride=2),
            convolve(first, second),
            convolve(second, third, stride=2),
            Residual(third),
            convolve(third, last, stride=2),
            nn.Flatten(),
            nn.Linear(last * math.ceil(side / 8) ** 2, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, prompt_width),
        )

    def forward(self, images: Tensor, places: Tensor, boxes_in_images: Tensor) -> Tensor:
        """images (B, 3, H, W) normalised, places (N,) the image of each box, boxes (N, 4) cxcywh in
        [0, 1] of the padded image -> (N, D_t). No gradient goes through the boxes."""
        glimpses = sample_boxes(images, places, boxes_in_images.detach(), side=self.side)
        seen: Tensor = self.look(glimpses)
        return seen

    def of_all(self, images: Tensor, boxes_in_images: Tensor) -> Tensor:
        """boxes (B, Q, 4) of every image -> (B, Q, D_t)."""
        grids = box_grids(boxes_in_images, side=self.side)  # (B, Q, K, K, 2)
        samples = functional.grid_sample(images.float(), grids.flatten(1, 2), align_corners=False)
        glimpses = samples.unflatten(2, (-1, self.side)).transpose(1, 2)  # type: ignore[no-untyped-call]
        seen: Tensor = self.look(glimpses.flatten(0, 1))  # (B Q, D_t)
        return seen.view(*boxes_in_images.shape[:2], -1)


def box_grids(boxes_cxcywh: Tensor, *, side: int) -> Tensor:
    """(..., 4) in [0, 1] of a map -> (..., K, K, 2) xy in [-1, 1] of the centres of a grid over
    each box."""
    steps = (torch.arange(side, device=boxes_cxcywh.device) + 0.5) / side - 0.5  # (K,)
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)  # (K, K, 2)
    boxes = boxes_cxcywh.float()[..., None, None, :]
    return 2 * (boxes[..., :2] + boxes[..., 2:] * offsets) - 1


def sample_boxes(maps: Tensor, places: Tensor, boxes_cxcywh: Tensor, *, side: int) -> Tensor:
    """Bilinear samples at the centres of a K x K grid over each box: (N, C, K, K), fp32.

    maps (B, C, H, W); box n (N, 4), in [0, 1] of the map, lies in map places[n].
    """
    grids = box_grids(boxes_cxcywh, side=side)  # (N, K, K, 2)
    parts, order = [], []
    for image, features in enumerate(maps.float()):
        here = (places == image).nonzero().squeeze(1)
        order.append(here)
        grid = grids[here].flatten(0, 1)[None]  # (1, n K, K, 2)
        samples = functional.grid_sample(features[None], grid, align_corners=False)
        parts.append(samples[0].unflatten(1, (len(here), side)).transpose(0, 1))  # type: ignore[no-untyped-call]
    return torch.cat(parts)[torch.cat(order).argsort()]
