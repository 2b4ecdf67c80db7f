"""Open-Det's detector: images in; boxes, object scores and prompts out."""

import torch
from torch import Tensor, nn

from opendet.model.aligner import Aligner
from opendet.model.backbone import build_backbone, normalise_images
from opendet.model.config import DetectorConfig
from opendet.model.decoder import Decoder
from opendet.model.denoising import NoisedBoxes
from opendet.model.encoder_choice import build_encoder
from opendet.model.features import FeatureTokens, join_levels, pad_maps
from opendet.model.neck import Neck
from opendet.model.no_namer import NoNamer
from opendet.model.outputs import DenoisingOutput, DetectorOutput
from opendet.model.prompts import Prompts
from opendet.model.prototype_head import PrototypeHead
from opendet.model.prototype_set import PrototypeSet
from opendet.model.query_selection import QuerySelection
from opendet.model.t5_namer import T5Namer

# B images, H x W the padded size, Q queries, D the detector's width, D_t the prompts' width

SIZE_UNIT = 32
"""Images are padded to a multiple of this, the coarsest stride of the backbones."""


class OpenDetector(nn.Module):
    """Backbone, neck, encoder, query selection, decoder, prompts; and the namer that reads them.

    Naming is a second step, by any of the namers (`opendet.model.naming`), so that only what is
    worth a name gets one. The aligners serve training, and a namer that is given its names; there
    is one for each decoder layer.
    """

    def __init__(
        self,
        config: DetectorConfig,
        namer: T5Namer | NoNamer,
        known: PrototypeSet | None = None,
    ) -> None:
        """`known`: what the prototype head names by, where the configuration wants one."""
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.backbone, checkpoint_from=config.checkpoint_from)
        self.neck = Neck(self.backbone.channels, width=config.width, extra_level=config.extra_level)
        self.encoder = build_encoder(config)
        self.selection = QuerySelection(config)
        self.decoder = Decoder(config)
        self.aligners = nn.ModuleList(_build_aligners(config, namer.prompt_width))
        self.prompts = Prompts(config, namer.prompt_width)
        self.namer = namer
        self.prototypes = _build_prototypes(config, known, prompt_width=namer.prompt_width)
        self.captioner: nn.Module | None = None
        """What ties the features to a language model in training; no exported model has one."""

    def forward(
        self, images: Tensor, sizes_hw: Tensor, noised: NoisedBoxes | None = None
    ) -> DetectorOutput:
        """images (B, 3, H, W) in [0, 1], zero where padded; sizes_hw (B, 2) unpadded.

        `noised` boxes go through the decoder beside the queries, for anchor denoising.
        """
        normalised = _pad_to_unit(normalise_images(images, sizes_hw))
        features = self._read_images(normalised, sizes_hw)
        memory = self.encoder(features)
        selection = self.selection(memory)
        layers = self.decoder(selection, memory, noised)
        first = layers[0].logits.shape[1] - selection.valid.shape[1]  # after the noised ones
        denoised = tuple(layer.part(slice(first)) for layer in layers)
        return DetectorOutput(
            proposals=selection.proposals,
            layers=tuple(layer.part(slice(first, None)) for layer in layers),
            valid=selection.valid,
            denoising=DenoisingOutput(noised, denoised) if noised else None,
            images=normalised,
            features=features,
            memory=memory,
            sizes_hw=sizes_hw,
        )

    def prompt(
        self,
        output: DetectorOutput,
        places: Tensor,
        queries: Tensor,
        boxes_cxcywh: Tensor | None = None,
    ) -> Tensor:
        """The prompts of chosen queries, (N, D_t) unit vectors in the space of text vectors.

        places, queries (N,) index images and their queries; boxes_cxcywh (N, 4) stand in for the
        predicted ones where given.
        """
        if boxes_cxcywh is None:
            boxes_cxcywh = output.boxes_cxcywh[places, queries]
        prompts: Tensor = self.prompts(output, places, queries, boxes_cxcywh)
        return prompts

    def _read_images(self, normalised: Tensor, sizes_hw: Tensor) -> FeatureTokens:
        if self.training:
            maps = self.neck(self.backbone(normalised))
        else:
            maps = self._read_by_size(normalised, sizes_hw)
        return join_levels(maps, self.strides, sizes_hw)

    @property
    def strides(self) -> list[int]:
        """Of the levels, in pixels."""
        first = self.config.backbone.strides[0]
        return [first * 2**level for level in range(self.config.levels)]

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


def _build_aligners(config: DetectorConfig, text_width: int) -> list[Aligner]:
    if config.aligner == "none":
        return []
    return [
        Aligner(config.width, text_width, direction=config.aligner, scale=config.align_scale)
        for _ in range(config.layers)
    ]


def _build_prototypes(
    config: DetectorConfig, known: PrototypeSet | None, *, prompt_width: int
) -> PrototypeHead | None:
    if config.semantics == "none":
        return None
    assert known is not None, "the prototype head needs a pool"
    width = prompt_width if config.prototypes.reads == "prompt" else config.width
    return PrototypeHead(config.prototypes, width, known)


def _pad_to_unit(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    return nn.functional.pad(images, (0, -width % SIZE_UNIT, 0, -height % SIZE_UNIT))
