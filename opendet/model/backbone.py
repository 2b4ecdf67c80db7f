"""Backbones: an image batch in, one feature map per stride out."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from opendet.model.config import BackboneConfig

# B images, C channels, H x W padded size

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
GROUP_SIZE = 8
"""Channels that share their statistics in the tiny backbone."""


class Backbone(Protocol):
    """A module with the channels of its maps."""

    channels: tuple[int, ...]

    def __call__(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised, H and W multiples of 32 -> maps (B, C, H / s, W / s)."""
        ...


def build_backbone(config: BackboneConfig) -> "TinyBackbone | TimmBackbone":
    return TinyBackbone(config) if config.name == "tiny" else TimmBackbone(config)


def normalise_images(images: Tensor, sizes_hw: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> ImageNet's mean 0 and deviation 1, zero where padded."""
    mean = images.new_tensor(MEAN)[:, None, None]
    std = images.new_tensor(STD)[:, None, None]
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device) < sizes_hw[:, :1]  # (B, H)
    columns = torch.arange(width, device=images.device) < sizes_hw[:, 1:]
    inside = rows[:, None, :, None] & columns[:, None, None, :]
    return ((images - mean) / std).masked_fill(~inside, 0.0)


class TinyBackbone(nn.Module):
    """A residual ConvNet of a few hundred thousand weights, for scenes and tests."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        widths = config.tiny_channels
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


class TimmBackbone(nn.Module):
    """Any timm model that gives feature maps, each map followed by a LayerNorm.

    timm's own maps are not normalised, which detection backbones of the Swin family are.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.model, self.channels = _create_timm(config)
        self.channels_last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in self.channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [
            self._normalise(m, norm) for m, norm in zip(self.model(images), self.norms, strict=True)
        ]

    def _normalise(self, features: Tensor, norm: nn.Module) -> Tensor:
        last = features if self._is_channels_last(features, norm) else features.permute(0, 2, 3, 1)
        normalised: Tensor = norm(last)
        return normalised.permute(0, 3, 1, 2)

    def _is_channels_last(self, features: Tensor, norm: nn.Module) -> bool:
        assert isinstance(norm, nn.LayerNorm)
        channels = norm.normalized_shape[0]
        if features.shape[-1] == channels and features.shape[1] == channels:
            return self.channels_last
        return bool(features.shape[-1] == channels)


def _create_timm(config: BackboneConfig) -> tuple[nn.Module, tuple[int, ...]]:
    """The model and its channels, at the strides that the config asks for."""
    import timm

    if not timm.is_model(config.name):
        raise ValueError(
            f"detector.backbone.name: timm knows no `{config.name}`; use `tiny` or a name "
            "of timm.list_models()"
        )
    try:
        probe: Any = timm.create_model(config.name, features_only=True, pretrained=False)
    except (RuntimeError, AttributeError) as error:
        raise ValueError(f"backbone {config.name}: timm has no feature maps of it") from error
    every = probe.feature_info
    reductions: list[int] = list(every.reduction())
    if not set(config.strides) <= set(reductions):
        raise ValueError(
            f"backbone {config.name}: strides {config.strides} asked, it has {tuple(reductions)}"
        )
    indices = tuple(reductions.index(stride) for stride in config.strides)
    extra = _size_options(config.name)
    model: nn.Module = timm.create_model(
        config.name,
        features_only=True,
        out_indices=indices,
        pretrained=config.pretrained,
        **extra,
    )
    channels: Sequence[int] = [every.channels()[index] for index in indices]
    return model, tuple(channels)


def _size_options(name: str) -> dict[str, Any]:
    """Swin asserts its own image size unless it is told not to; other models know no such word."""
    return {"strict_img_size": False} if name.startswith("swin") else {}


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
