"""Open-Det's detector: images in; boxes, object scores and prompts out."""

import torch
from torch import Tensor, nn

from opendet.model.backbone import build_backbone, normalise_images
from opendet.model.config import DetectorConfig
from opendet.model.decoder import Decoder
from opendet.model.encoder import Encoder
from opendet.model.features import FeatureTokens, join_levels, pad_maps
from opendet.model.namer import T5Namer
from opendet.model.neck import Neck
from opendet.model.outputs import DetectorOutput
from opendet.model.prompts import QueryPrompts, RegionPrompts
from opendet.model.query_selection import QuerySelection

# B images, H x W the padded size, Q queries, D the detector's width, D_t the prompts' width

SIZE_UNIT = 32
"""Images are padded to a multiple of this, the coarsest stride of the backbones."""


class OpenDetector(nn.Module):
    """Backbone, neck, encoder, query selection, decoder, prompts; and the namer that reads them.

    Naming is a second step, `detector.namer.name(prompts)`, so that only what is worth a name
    gets one.
    """

    def __init__(self, config: DetectorConfig, namer: T5Namer) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.backbone)
        self.neck = Neck(self.backbone.channels, width=config.width, extra_level=config.extra_level)
        self.encoder = Encoder(config)
        self.selection = QuerySelection(config)
        self.decoder = Decoder(config)
        self.prompts = _build_prompts(config, namer.prompt_width)
        self.namer = namer

    def forward(self, images: Tensor, sizes_hw: Tensor) -> DetectorOutput:
        """images (B, 3, H, W) in [0, 1], zero where padded; sizes_hw (B, 2) unpadded."""
        features = self._read_images(images, sizes_hw)
        memory = self.encoder(features)
        selection = self.selection(memory)
        queries, layers = self.decoder(selection, memory)
        return DetectorOutput(
            proposals=selection.proposals,
            layers=layers,
            valid=selection.valid,
            queries=queries,
            prompts=self.prompts(queries, layers[-1].boxes_cxcywh, features),
            features=features,
            memory=memory,
        )

    def _read_images(self, images: Tensor, sizes_hw: Tensor) -> FeatureTokens:
        normalised = _pad_to_unit(normalise_images(images, sizes_hw))
        if self.training:
            maps = self.neck(self.backbone(normalised))
        else:
            maps = self._read_by_size(normalised, sizes_hw)
        first = self.config.backbone.strides[0]
        strides = [first * 2**level for level in range(self.config.levels)]
        return join_levels(maps, strides, sizes_hw)

    def _read_by_size(self, normalised: Tensor, sizes_hw: Tensor) -> list[Tensor]:
        """The neck's maps, computed without the padding that the batch's other images caused.

        Convolution, window attention and GroupNorm all see padding; at test an image must give
        the same boxes alone and in any batch.
        """
        units = (sizes_hw + SIZE_UNIT - 1) // SIZE_UNIT * SIZE_UNIT
        groups = torch.unique(units, dim=0).tolist()
        if len(groups) == 1:
            height, width = groups[0]
            maps: list[Tensor] = self.neck(self.backbone(normalised[..., :height, :width]))
            return maps
        members, parts = [], []
        for height, width in groups:
            chosen = ((units[:, 0] == height) & (units[:, 1] == width)).nonzero().squeeze(1)
            members.append(chosen)
            parts.append(self.neck(self.backbone(normalised[chosen, :, :height, :width])))
        order = torch.cat(members).argsort()
        shapes = [
            (max(m.shape[-2] for m in level), max(m.shape[-1] for m in level))
            for level in zip(*parts, strict=True)
        ]
        levels = zip(*parts, strict=True)
        return [pad_maps(level, shape)[order] for level, shape in zip(levels, shapes, strict=True)]


def _build_prompts(config: DetectorConfig, prompt_width: int) -> QueryPrompts | RegionPrompts:
    if config.prompt == "query":
        return QueryPrompts(config.width, prompt_width)
    if config.prompt_stride not in config.backbone.strides:
        raise ValueError(
            f"prompt_stride {config.prompt_stride}: take one of the backbone's strides "
            f"{config.backbone.strides}"
        )
    level = config.backbone.strides.index(config.prompt_stride)
    return RegionPrompts(config.width, prompt_width, level=level, grid=config.prompt_grid)


def _pad_to_unit(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    return nn.functional.pad(images, (0, -width % SIZE_UNIT, 0, -height % SIZE_UNIT))
