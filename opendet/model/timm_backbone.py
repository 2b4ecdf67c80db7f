"""timm's models as backbones: pyramids (Swin, ConvNeXt, ResNet) and plain ViTs (DINOv2, DINOv3)."""

import difflib
import math
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers.norm_act import freeze_batch_norm_2d
from timm.models import load_state_dict
from torch import Tensor, nn
from torch.nn import functional

from opendet.model.backbone import Backbone
from opendet.model.config import BackboneConfig
from opendet.model.swin_windows import pad_before_shifts
from opendet.model.token_linear import use_token_linears

# B images, C channels, H x W padded size

ENOUGH = 0.7
"""Share of a model's parameters that a file must give; timm resamples a few of them."""


class TimmBackbone(Backbone):
    """A timm model's maps, each followed by a LayerNorm.

    timm's own maps are not normalised, which detection backbones of the Swin family are. A model
    of one stride, a plain ViT, gets ViTDet's simple feature pyramid.
    """

    def __init__(self, config: BackboneConfig, *, checkpoint_from: int = 0) -> None:
        super().__init__()
        self.checkpoint_from = checkpoint_from
        probe = _probe(config.name)
        reductions, channels = probe.reduction(), probe.channels()
        plain = len(set(reductions)) == 1
        if not plain and not set(config.strides) <= set(reductions):
            raise ValueError(
                f"detector.backbone.strides: {config.strides} asked, {config.name} has "
                f"{tuple(reductions)}"
            )
        indices = [-1] if plain else [reductions.index(stride) for stride in config.strides]
        self.model = _create(config, indices)
        self.pyramid: nn.Module = (
            SimplePyramid(reductions[-1], channels[-1], config.strides) if plain else nn.Identity()
        )
        self.channels = (
            self.pyramid.channels
            if isinstance(self.pyramid, SimplePyramid)
            else tuple(channels[index] for index in indices)
        )
        self.channels_last = str(getattr(self.model, "output_fmt", "NCHW")).endswith("NHWC")
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in self.channels)
        use_token_linears(self.model)
        pad_before_shifts(self.model)

    def forward(self, images: Tensor) -> list[Tensor]:
        self._checkpoint(0 < self.checkpoint_from <= max(images.shape[-2:]))
        if isinstance(self.pyramid, SimplePyramid):
            images = self.pyramid.fit(images)
        maps = self.model(images)
        if self.channels_last:
            maps = [m.permute(0, 3, 1, 2) for m in maps]
        return [
            norm(m.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            for m, norm in zip(self.pyramid(maps), self.norms, strict=True)
        ]

    def _checkpoint(self, wanted: bool) -> None:
        """Block by block where the model's stages can, else stage by stage."""
        able = [m for m in self.model.modules() if hasattr(m, "grad_checkpointing")]
        inner = [module for module in able if module is not self.model]
        for module in inner or able:
            module.__dict__["grad_checkpointing"] = wanted and self.training


class SimplePyramid(nn.Module):
    """Maps of other strides from a plain ViT's last one (ViTDet, Li et al. 2022).

    Finer maps by transposed convolutions of 2 x 2 that halve the channels, coarser ones by
    pooling; the 1x1 convolutions that follow in ViTDet are the neck's. A patch of 14 pixels is
    read as one of 16: `fit` shrinks the image, so that cells lie where the strides say.
    """

    def __init__(self, patch: int, channels: int, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.patch = patch
        self.cell = 2 ** round(math.log2(patch))
        steps = [round(math.log2(self.cell / stride)) for stride in strides]
        self.scales = nn.ModuleList(_rescale(channels, step) for step in steps)
        self.channels = tuple(channels // 2 ** max(0, step) for step in steps)

    def fit(self, images: Tensor) -> Tensor:
        """(B, 3, H, W), H and W multiples of the cell -> as many patches as there were cells."""
        if self.patch == self.cell:
            return images
        size = [side * self.patch // self.cell for side in images.shape[-2:]]
        return functional.interpolate(images.float(), size=size, mode="bilinear", antialias=True)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [scale(maps[-1]) for scale in self.scales]


def _rescale(channels: int, step: int) -> nn.Module:
    """Twice as fine `step` times, or as coarse where it is negative."""
    if step <= 0:
        return nn.MaxPool2d(2**-step) if step else nn.Identity()
    layers: list[nn.Module] = []
    for index in range(step):
        width = channels // 2**index
        layers += [nn.ConvTranspose2d(width, width // 2, 2, stride=2), nn.GELU()]
    return nn.Sequential(*layers[:-1])


def _probe(name: str) -> Any:
    """timm's description of the model's maps; no weights are made."""
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, ["tiny", *timm.list_models()], n=3, cutoff=0.5)
        raise ValueError(
            f"detector.backbone.name: timm knows no `{name}`"
            + (f"; did you mean {' or '.join(near)}?" if near else "; use `tiny` or a timm name")
        )
    try:
        with torch.device("meta"):
            model: Any = timm.create_model(name, features_only=True, **_any_size(name)).eval()
    except (RuntimeError, AttributeError) as error:
        raise ValueError(f"detector.backbone.name: timm has no feature maps of {name}") from error
    _require_any_size(name, model)
    return model.feature_info


def _require_any_size(name: str, model: Any) -> None:
    """Raises ValueError, in one line, for a model on the meta device that knows one size alone."""
    stride = model.feature_info.reduction()[-1]
    native: Any = timm.models.get_pretrained_cfg(name)
    own_hw = native.input_size[1:]
    # Some cannot be tried without weights: those know not even their own size here.
    if not _takes(model, (4 * stride, 6 * stride)) and _takes(model, own_hw):
        raise ValueError(
            f"detector.backbone.name: {name} does not take images of other sizes than its own, "
            f"{own_hw[0]} x {own_hw[1]}: take a Swin, ConvNeXt, ResNet or DINOv2"
        )


@torch.no_grad()
def _takes(model: nn.Module, size_hw: tuple[int, int]) -> bool:
    try:
        model(torch.empty(1, 3, *size_hw, device="meta"))
    except (AssertionError, RuntimeError):  # timm's own check of the size, or shapes that differ
        return False
    return True


def _create(config: BackboneConfig, indices: list[int]) -> nn.Module:
    options = _any_size(config.name)
    if config.drop_path:
        options["drop_path_rate"] = config.drop_path
    file = _weight_file(Path(config.weights)) if config.weights else None
    if file:
        options["pretrained_cfg_overlay"] = {"file": str(file)}
    given = config.pretrained or bool(config.weights)
    try:
        model: nn.Module = timm.create_model(
            config.name, features_only=True, out_indices=indices, pretrained=given, **options
        )
        if file and _share_found(model, file) < ENOUGH:
            raise ValueError("its tensors are others")
    except TypeError as error:
        raise ValueError(f"detector.backbone: {config.name}: {_first_line(error)}") from error
    except Exception as error:  # whatever a damaged file or a hub out of reach raises
        if not given:
            raise
        raise ValueError(_weights_message(config, error)) from error
    if given:
        model = freeze_batch_norm_2d(model)  # type: ignore[no-untyped-call]  # as detectors do
    return model


def _share_found(model: nn.Module, file: Path) -> float:
    """How much of the model came from the file; timm passes over what it does not find there."""
    there = {_mark(tensor) for tensor in load_state_dict(str(file)).values()}
    parameters = list(model.parameters())
    return sum(_mark(parameter) in there for parameter in parameters) / len(parameters)


def _mark(tensor: Tensor) -> tuple[torch.Size, float]:
    return tensor.shape, float(tensor.detach().double().sum())


def _weights_message(config: BackboneConfig, error: Exception) -> str:
    if config.weights:
        return (
            f"detector.backbone.weights: {config.weights} does not fit {config.name}: "
            f"{_first_line(error)}"
        )
    return (
        f"detector.backbone.pretrained: no weights of {config.name} could be fetched "
        f"({_first_line(error)[:120]}); set detector.backbone.weights to a local file"
    )


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split("\n")[:2])


def _weight_file(path: Path) -> Path:
    found = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    if len(found) == 1 and found[0].suffix == ".safetensors":
        return found[0]
    raise ValueError(
        f"detector.backbone.weights: {path} is neither a safetensors file nor a folder with one"
    )


def _any_size(name: str) -> dict[str, Any]:
    """What makes a model take images of any size; Swin's windows shift on every stage, as in
    detection, not only where the maps of a 224 pixel image are larger than a window."""
    match timm.models.model_entrypoint(name).__module__.rpartition(".")[2]:
        case "swin_transformer" | "swin_transformer_v2":
            return {"strict_img_size": False, "always_partition": True}
        case "vision_transformer" | "eva":
            return {"dynamic_img_size": True}
        case _:
            return {}
