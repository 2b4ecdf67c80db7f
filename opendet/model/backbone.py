"""Backbones: an image batch in, one feature map per stride out."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from opendet.model.config import BackboneConfig

# B images, C channels, H x W padded size

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
GROUP_SIZE = 8
"""Channels that share their statistics in the tiny backbone."""


class Backbone(nn.Module):
    """(B, 3, H, W) normalised, H and W multiples of 32 -> maps (B, C, H / s, W / s)."""

    channels: tuple[int, ...]
    """Of each map."""


def build_backbone(config: BackboneConfig, *, checkpoint_from: int = 0) -> Backbone:
    """Random weights, or those that the config names; activations are made anew in the backward
    pass for images whose longest padded side reaches `checkpoint_from` pixels (0: never)."""
    if config.name == "tiny":
        return TinyBackbone(config)
    from opendet.model.timm_backbone import TimmBackbone

    return TimmBackbone(config, checkpoint_from=checkpoint_from)


def normalise_images(images: Tensor, sizes_hw: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> ImageNet's mean 0 and deviation 1, zero where padded."""
    mean = images.new_tensor(MEAN)[:, None, None]
    std = images.new_tensor(STD)[:, None, None]
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device) < sizes_hw[:, :1]  # (B, H)
    columns = torch.arange(width, device=images.device) < sizes_hw[:, 1:]
    inside = rows[:, None, :, None] & columns[:, None, None, :]
    return ((images - mean) / std).masked_fill(~inside, 0.0)


class TinyBackbone(Backbone):
    """A residual ConvNet of a few hundred thousand weights, for scenes and tests."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        widths = config.tiny_channels
        if config.pretrained or config.weights:
            raise ValueError("detector.backbone: `tiny` has no weights to fetch; train it")
        if 4 * 2 ** (len(widths) - 1) < config.strides[-1]:
            raise ValueError(
                f"tiny_channels has {len(widths)} stages, too few for stride {config.strides[-1]}"
            )
        stem = nn.Sequential(convolve(3, widths[0], stride=2), convolve(widths[0], widths[0], 2))
        stages: list[nn.Module] = [nn.Sequential(stem, Residual(widths[0]))]
        for before, after in pairwise(widths):
            stages.append(nn.Sequential(convolve(before, after, stride=2), Residual(after)))
        self.stages = nn.ModuleList(stages[: config.strides[-1].bit_length() - 2])
        self.strides = config.strides
        self.channels = tuple(widths[stride.bit_length() - 3] for stride in config.strides)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = []
        for index, stage in enumerate(self.stages):
            images = stage(images)
            if 4 * 2**index in self.strides:
                maps.append(images)
        return maps


def convolve(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, 1, bias=False),
        nn.GroupNorm(_groups(after), after),
        nn.ReLU(inplace=True),
    )


def _groups(channels: int) -> int:
    """Groups of GROUP_SIZE channels, or of more where that does not divide."""
    return math.gcd(channels, max(1, channels // GROUP_SIZE))


class Residual(nn.Module):
    """Two convolutions around which the input goes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = convolve(width, width)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.GroupNorm(_groups(width), width),
        )

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(features + self.second(self.first(features)))
