"""The neck: every map to the detector's width, and one coarser level where asked."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

GROUPS = 32
GROUP_SIZE = 8
"""A group of fewer channels would vanish on a map of one cell."""


class Neck(nn.Module):
    """1x1 convolutions and GroupNorm; the extra level is a strided 3x3 of the last raw map."""

    def __init__(self, channels: Sequence[int], *, width: int, extra_level: bool) -> None:
        super().__init__()
        groups = math.gcd(GROUPS, max(1, width // GROUP_SIZE))
        self.laterals = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, width, 1), nn.GroupNorm(groups, width)) for c in channels
        )
        self.extra = (
            nn.Sequential(nn.Conv2d(channels[-1], width, 3, 2, 1), nn.GroupNorm(groups, width))
            if extra_level
            else None
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (B, C, H, W), finest first -> maps (B, width, H, W)."""
        levels = [lateral(m) for lateral, m in zip(self.laterals, maps, strict=True)]
        if self.extra is not None:
            levels.append(self.extra(maps[-1]))
        return levels
