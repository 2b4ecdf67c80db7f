"""Detectors of three classes with random weights, saved as users' are."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torchvision.models import detection
from transformers import (
    DeformableDetrConfig,
    DeformableDetrForObjectDetection,
    DeformableDetrImageProcessor,
    DetrConfig,
    DetrForObjectDetection,
    DetrImageProcessor,
    PreTrainedModel,
    ResNetConfig,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessor,
    RTDetrResNetConfig,
)

NAMES = ("cat", "dog", "sofa")
WIDTHS = {"embedding_size": 16, "hidden_sizes": [16, 16, 24, 32], "depths": [1, 1, 1, 1]}
LAYERS = {
    "encoder_layers": 1,
    "decoder_layers": 2,
    "d_model": 32,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
}
EDGES = {"shortest_edge": 48, "longest_edge": 80}


def save_tiny_detr(folder: Path, **knobs: Any) -> Path:
    torch.manual_seed(0)
    stages = ResNetConfig(**WIDTHS, layer_type="basic", out_features=["stage4"])
    config = DetrConfig(
        use_timm_backbone=False, backbone_config=stages, num_queries=12, **LAYERS, **_said(knobs)
    )
    return _saved(folder, DetrForObjectDetection(config), DetrImageProcessor(size=EDGES))


def save_tiny_deformable_detr(folder: Path) -> Path:
    torch.manual_seed(0)
    stages = ResNetConfig(**WIDTHS, layer_type="basic", out_features=["stage2", "stage3", "stage4"])
    config = DeformableDetrConfig(
        use_timm_backbone=False,
        backbone_config=stages,
        num_queries=60,
        with_box_refine=True,
        **LAYERS,
        **_said({}),
    )
    processor = DeformableDetrImageProcessor(size=EDGES)
    return _saved(folder, DeformableDetrForObjectDetection(config), processor)


def save_tiny_rt_detr(folder: Path) -> Path:
    torch.manual_seed(0)
    stages = RTDetrResNetConfig(
        **WIDTHS, layer_type="basic", out_features=["stage2", "stage3", "stage4"]
    )
    config = RTDetrConfig(
        backbone_config=stages,
        encoder_hidden_dim=32,
        encoder_in_channels=[16, 24, 32],
        encoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_in_channels=[32, 32, 32],
        decoder_layers=2,
        decoder_ffn_dim=32,
        decoder_attention_heads=2,
        d_model=32,
        num_queries=15,
        initializer_range=0.2,  # the usual 0.01 lets an image fade to nothing in so few layers
        **_said({}),
    )
    processor = RTDetrImageProcessor(size={"height": 64, "width": 64})
    return _saved(folder, RTDetrForObjectDetection(config), processor)


def _said(knobs: dict[str, Any]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(NAMES)), **knobs}


def _saved(folder: Path, model: PreTrainedModel, processor: Any) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def save_torchvision(file: Path, architecture: str, *, outputs: int = 4, **changed: Any) -> Path:
    """Weights with `changed` tensors filled with a number, in a .safetensors file."""
    torch.manual_seed(0)
    model = getattr(detection, architecture)(
        weights=None, weights_backbone=None, num_classes=outputs
    )
    weights = model.state_dict()
    for key, number in changed.items():
        weights[key].fill_(number)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, file)
    return file
