"""Weighted sums of bilinear samples of a pyramid, which deformable attention is made of.

Two ways to the same numbers: torch's grid_sample, which has a gradient and suits a GPU, and bags
of rows, which is seven times as fast on a CPU (docs/log.md) because it never writes the samples.
B images, Q queries, S tokens, L levels, P points, G heads, C channels of a head.
"""

import torch
from torch import Tensor
from torch.nn import functional

from opendet.model.features import Shapes

QUERIES_AT_ONCE = 2048
"""Of one image: what a bag needs of them stays in a core's cache."""


def sample_levels(values: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples; zero beyond a map's border.

    values (B, S, G, C), locations (B, Q, G, L, P, 2) as xy in [0, 1] of each padded map,
    weights (B, Q, G, L, P) -> (B, Q, G * C) fp32.
    """
    if torch.is_grad_enabled() or values.device.type != "cpu" or _is_traced():
        return sample_grids(values, shapes, locations, weights)
    return sample_bags(values, shapes, locations, weights)


def sample_grids(values: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """`sample_levels` by grid_sample, level by level."""
    images, _, heads, channels = values.shape
    queries = locations.shape[1]
    grids = (2 * locations.float() - 1).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)  # (L, BG, Q, P, 2)
    scales = weights.float().permute(3, 0, 2, 1, 4).flatten(1, 2)[:, :, None]  # (L, BG, 1, Q, P)
    total = values.new_zeros((images * heads, channels, queries), dtype=torch.float32)
    parts = torch.split(values.float(), [height * width for height, width in shapes], 1)
    for part, shape, grid, scale in zip(parts, shapes, grids, scales, strict=True):
        level = part.permute(0, 2, 3, 1).reshape(images * heads, channels, *shape)
        samples = functional.grid_sample(level, grid, align_corners=False)  # (BG, C, Q, P)
        total = total + (samples * scale).sum(-1)
    return total.view(images, heads * channels, queries).transpose(1, 2)


def sample_bags(values: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """`sample_levels` by embedding_bag: a query's head is a bag of L * P rows, at each corner."""
    rows = values.float().reshape(-1, values.shape[-1])  # (B * S * G, C)
    starts = _first_rows(values, shapes)  # (B, G, L, 1)
    wh = torch.tensor([(w, h) for h, w in shapes], dtype=torch.float32)[:, None]  # (L, 1, 2)
    parts = [
        torch.cat(
            [
                _sum_corners(rows, start, wh, place, weight)
                for place, weight in zip(
                    image.float().split(QUERIES_AT_ONCE),
                    scale.float().split(QUERIES_AT_ONCE),
                    strict=True,
                )
            ]
        )
        for start, image, scale in zip(starts, locations, weights, strict=True)
    ]
    return torch.stack(parts)


def _first_rows(values: Tensor, shapes: Shapes) -> Tensor:
    """(B, G, L, 1) int32: the row of each level's first cell, of each image and head."""
    images, tokens, heads, _ = values.shape
    cells = torch.tensor([0] + [height * width for height, width in shapes[:-1]])
    levels = cells.cumsum(0)[:, None]  # (L, 1)
    image = torch.arange(images)[:, None, None, None]
    head = torch.arange(heads)[:, None, None]
    return (((image * tokens + levels) * heads) + head).int()


def _sum_corners(rows: Tensor, start: Tensor, wh: Tensor, xy: Tensor, weights: Tensor) -> Tensor:
    """start (G, L, 1), xy (q, G, L, P, 2), weights (q, G, L, P) -> (q, G * C)."""
    heads = len(start)
    width, height = wh.unbind(-1)  # (L, 1) each
    below, above = _neighbours(xy[..., 1] * height - 0.5, height)
    left, right = _neighbours(xy[..., 0] * width - 0.5, width)
    columns = [(cell * heads, share) for cell, share in (left, right)]
    step = width.int() * heads
    total = torch.zeros(())
    for cell, share in (below, above):
        first, weight = cell * step + start, share * weights
        for column, across in columns:
            total = total + functional.embedding_bag(
                (first + column).flatten(0, 1).flatten(1),
                rows,
                mode="sum",
                per_sample_weights=(weight * across).flatten(0, 1).flatten(1),
            )
    return total.view(len(xy), -1)


def _neighbours(place: Tensor, size: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The two cells around a place on an axis, int32, and their shares, zero beyond the border."""
    first = place.floor()
    share = place - first
    return _inside(first, 1 - share, size), _inside(first + 1, share, size)


def _inside(cell: Tensor, share: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    held = cell.clamp(min=0).minimum(size - 1)
    return held.int(), share * (held == cell)


def _is_traced() -> bool:
    """An exporter's graph holds grid_sample, which other runtimes know."""
    return torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export()
