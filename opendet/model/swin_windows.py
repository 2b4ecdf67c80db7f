"""Swin's shifted windows on maps that windows do not divide, as detection Swins have them.

timm shifts such a map before it pads it, so that at the borders cells of opposite sides end up in
one window; it is padded first here (Liu et al. 2021; transformers does the same), which changes
nothing where windows divide the map.
"""

from functools import lru_cache

import torch
from timm.models.swin_transformer import SwinTransformerBlock, window_partition, window_reverse
from torch import Tensor, nn
from torch.nn import functional

# B images, H x W cells, C channels, N windows of n cells

Side = tuple[int, int]


class PaddedBlock(SwinTransformerBlock):
    """timm's block with the same weights and names."""

    def _attn(self, features: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        height, width = features.shape[1:3]
        window: Side = self.window_size
        shift: Side = self.shift_size
        padded = functional.pad(features, (0, 0, 0, -width % window[1], 0, -height % window[0]))
        mask = None
        if any(shift):
            padded = padded.roll((-shift[0], -shift[1]), (1, 2))
            side = (padded.shape[1], padded.shape[2])
            exporting = torch.compiler.is_exporting()  # sides are symbols then, which do not hash
            make = shift_mask.__wrapped__ if exporting else shift_mask
            mask = make(side, window, shift, features.device).to(features.dtype)
        self.attn.fused_attn = not torch.is_grad_enabled()  # the bias has no fused gradient
        windows = window_partition(padded, window).flatten(1, 2)  # (B * N, n, C)
        read = self.attn(windows, mask=mask).reshape(-1, *window, features.shape[-1])
        whole: Tensor = window_reverse(read, window, padded.shape[1], padded.shape[2])
        if any(shift):
            whole = whole.roll(shift, (1, 2))
        return whole[:, :height, :width]


def pad_before_shifts(model: nn.Module) -> None:
    """Make the blocks of a timm Swin PaddedBlocks, in place."""
    for module in model.modules():
        if type(module) is SwinTransformerBlock:
            module.__class__ = PaddedBlock


@lru_cache(maxsize=8)
def shift_mask(side: Side, window: Side, shift: Side, device: torch.device) -> Tensor:
    """(N, n, n) -100 between cells of a shifted window that are no neighbours in the image.

    Kept for the last few sizes: the blocks of a stage share it, and so do images of one size.
    """
    with torch.inference_mode(False):
        rows, columns = (
            _regions(length, size, step, device)
            for length, size, step in zip(side, window, shift, strict=True)
        )
        regions = (rows[:, None] * 3 + columns)[None, ..., None]  # (1, H, W, 1)
        cells = window_partition(regions, window).flatten(1)  # (N, n)
        return (cells[:, :, None] != cells[:, None]) * -100.0


def _regions(length: int, window: int, shift: int, device: torch.device) -> Tensor:
    """(length,) 0, 1 or 2: before the last window, its own part, and what came round."""
    places = torch.arange(length, device=device)
    return (places >= length - window).long() + (places >= length - shift).long()
