"""Feature maps as one row of tokens, which is what attention reads.

B images, L levels, H x W a level's padded size, S tokens of all levels, D channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

Shapes = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class FeatureTokens:
    """The maps of a batch, flattened and joined, finest level first."""

    tokens: Tensor
    """(B, S, D)"""
    shapes: Shapes
    """Height and width of each level."""
    valid: Tensor
    """(B, S) True where a token's cell touches the unpadded image."""
    extents_wh: Tensor
    """(B, L, 2) width and height of the unpadded image in cells of the level, fp32."""

    def with_tokens(self, tokens: Tensor) -> "FeatureTokens":
        return replace(self, tokens=tokens)

    def level(self, index: int) -> Tensor:
        """(B, D, H, W) of one level, zero where padded."""
        height, width = self.shapes[index]
        start = sum(h * w for h, w in self.shapes[:index])
        part = slice(start, start + height * width)
        tokens = self.tokens[:, part].masked_fill(~self.valid[:, part, None], 0.0)
        return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, height, width)

    def ratios_wh(self) -> Tensor:
        """(B, L, 2) the unpadded image's share of each level's map."""
        return self.extents_wh / sizes_wh(self.shapes, self.extents_wh)


def sizes_wh(shapes: Shapes, like: Tensor) -> Tensor:
    """(L, 2) width and height of each level, of the kind and on the device of `like`."""
    if not torch.compiler.is_exporting():
        return like.new_tensor([(width, height) for height, width in shapes])
    sides = [like.new_full((), side) for height, width in shapes for side in (width, height)]
    return torch.stack(sides).view(-1, 2)  # a list of sides would be written down as it is now


def spread_levels(of_levels: Tensor, shapes: Shapes) -> Tensor:
    """(..., L, C) -> (..., S, C), each level's row for each of its cells."""
    counts = [height * width for height, width in shapes]
    if not torch.compiler.is_exporting():
        return of_levels.repeat_interleave(torch.tensor(counts, device=of_levels.device), -2)
    rows = zip(of_levels.unbind(-2), counts, strict=True)
    return torch.cat([row[..., None, :].expand(*row.shape[:-1], n, -1) for row, n in rows], -2)


def cell_centres(shape: tuple[int, int], extents_wh: Tensor) -> Tensor:
    """Centres (B, H, W, 2) as xy in [0, 1] of the unpadded image, beyond 1 where padded.

    `extents_wh` (B, 2) is the unpadded image in cells.
    """
    height, width = shape
    y = torch.arange(height, device=extents_wh.device, dtype=torch.float32) + 0.5
    x = torch.arange(width, device=extents_wh.device, dtype=torch.float32) + 0.5
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)  # (H, W, 2)
    return grid / extents_wh[:, None, None]


def join_levels(maps: Sequence[Tensor], strides: Sequence[int], sizes_hw: Tensor) -> FeatureTokens:
    """Flatten maps (B, D, H, W) at `strides` of images whose unpadded sizes are (B, 2)."""
    shapes: Shapes = tuple((m.shape[-2], m.shape[-1]) for m in maps)
    sizes_wh = sizes_hw.flip(-1).float()
    extents_wh = torch.stack([sizes_wh / stride for stride in strides], 1)  # (B, L, 2)
    valid = [_valid_cells(shape, extents_wh[:, i]) for i, shape in enumerate(shapes)]
    return FeatureTokens(
        tokens=torch.cat([m.flatten(2).transpose(1, 2) for m in maps], 1),
        shapes=shapes,
        valid=torch.cat(valid, 1),
        extents_wh=extents_wh,
    )


def pad_maps(maps: Sequence[Tensor], shape: tuple[int, int]) -> Tensor:
    """Join maps (b, D, h, w) of several sizes into one (B, D, H, W), zero where padded."""
    height, width = shape
    return torch.cat(
        [functional.pad(m, (0, width - m.shape[-1], 0, height - m.shape[-2])) for m in maps]
    )


def _valid_cells(shape: tuple[int, int], extents_wh: Tensor) -> Tensor:
    """(B, H*W) True where the cell begins within the unpadded image."""
    height, width = shape
    rows = torch.arange(height, device=extents_wh.device) < extents_wh[:, 1:].ceil()  # (B, H)
    columns = torch.arange(width, device=extents_wh.device) < extents_wh[:, :1].ceil()
    return (rows[:, :, None] & columns[:, None, :]).flatten(1)
