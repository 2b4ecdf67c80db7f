from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from opendet.model.backbone import build_backbone
from opendet.model.config import BackboneConfig, DetectorConfig
from opendet.model.timm_backbone import SimplePyramid, TimmBackbone
from tests.model.worlds import TINY_DETECTOR, build_detector

PYRAMIDS = ("test_resnet", "test_convnext", "swin_tiny_patch4_window7_224")
PLAIN = ("test_vit", "vit_small_patch14_dinov2", "vit_tiny_patch16_dinov3_qkvb")


def _build(name: str, *, checkpoint_from: int = 0, drop_path: float = 0.0) -> TimmBackbone:
    config = BackboneConfig(name=name, drop_path=drop_path)
    backbone = build_backbone(config, checkpoint_from=checkpoint_from)
    assert isinstance(backbone, TimmBackbone)
    return backbone


@pytest.mark.parametrize("name", PYRAMIDS + PLAIN)
def test_maps_of_any_size_and_a_gradient_everywhere(name: str) -> None:
    backbone = _build(name, drop_path=0.1).train()
    maps = backbone(torch.randn(2, 3, 64, 96))
    assert [tuple(m.shape[2:]) for m in maps] == [(8, 12), (4, 6), (2, 3)]
    assert tuple(m.shape[1] for m in maps) == backbone.channels
    sum((m.square().sum() for m in maps), torch.zeros(())).backward()
    assert [key for key, p in backbone.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", ["test_convnext", "test_vit"])
def test_detections_alone_and_in_a_padded_batch(name: str) -> None:
    config = TINY_DETECTOR.model_copy(update={"backbone": BackboneConfig(name=name)})
    detector = build_detector(DetectorConfig.model_validate(config.model_dump())).eval()
    sizes_hw = torch.tensor([[64, 96], [50, 40]])
    images = torch.rand(2, 3, 64, 96)
    images[1, :, 50:] = 0
    images[1, :, :, 40:] = 0
    with torch.no_grad():
        together = detector(images, sizes_hw)
        alone = detector(images[1:, :, :50, :40], sizes_hw[1:])
    count = alone.boxes_cxcywh.shape[1]
    torch.testing.assert_close(
        together.boxes_cxcywh[1, :count], alone.boxes_cxcywh[0], atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_resnet"])
def test_checkpointing_changes_no_gradient(name: str) -> None:
    images = torch.randn(1, 3, 64, 96)
    kept, plain = (_gradients(name, images, checkpoint_from=side) for side in (96, 97))
    for one, other in zip(kept, plain, strict=True):
        torch.testing.assert_close(one, other)


def _gradients(name: str, images: Tensor, *, checkpoint_from: int) -> list[Tensor]:
    torch.manual_seed(0)
    backbone = _build(name, checkpoint_from=checkpoint_from, drop_path=0.2).train()
    backbone(images)[-1].square().sum().backward()
    flags = {m.grad_checkpointing for m in backbone.modules() if hasattr(m, "grad_checkpointing")}
    assert (True in flags) == (checkpoint_from == 96)
    return [p.grad for p in backbone.parameters() if p.grad is not None]


def test_a_patch_of_14_pixels_covers_a_cell_of_16() -> None:
    pyramid = SimplePyramid(14, 8, (8, 16, 32))
    images = torch.zeros(1, 3, 32, 64)
    images[..., 16:, 48:] = 1.0  # the last cell of 16 pixels
    patches = torch.nn.functional.avg_pool2d(pyramid.fit(images)[:, :1], 14)
    assert patches.shape == (1, 1, 2, 4)
    assert patches[0, 0, 1, 3] > 0.95
    assert patches[0, 0].sum() < 1.1


def test_swin_shifts_on_its_last_stage_too() -> None:
    stage = _build("swin_tiny_patch4_window7_224").model.get_submodule("layers_3")
    shifts = [getattr(module, "shift_size", None) for module in stage.modules()]
    assert [shift for shift in shifts if shift] == [(0, 0), (3, 3)]


@pytest.mark.parametrize("folder", [False, True])
def test_weights_from_a_local_file(folder: bool, tmp_path: Path) -> None:
    torch.manual_seed(3)
    weights = timm.create_model("test_resnet").state_dict()
    save_file({key: w.contiguous() for key, w in weights.items()}, tmp_path / "model.safetensors")
    path = tmp_path if folder else tmp_path / "model.safetensors"
    backbone = build_backbone(BackboneConfig(name="test_resnet", weights=str(path)))
    ours = dict(backbone.named_parameters())["model.layer1.0.conv1.weight"]
    assert torch.equal(ours, weights["layer1.0.conv1.weight"])
    backbone.train()(torch.randn(1, 3, 64, 64))
    statistics = dict(backbone.named_buffers())["model.layer1.0.bn1.running_mean"]
    assert torch.equal(statistics, weights["layer1.0.bn1.running_mean"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BackboneConfig(name="resnet5O"), "did you mean resnet50"),
        (BackboneConfig(name="qqqq"), "timm knows no `qqqq`; use `tiny`"),
        (BackboneConfig(name="test_resnet", strides=(32, 64)), "strides"),
        (BackboneConfig(name="test_resnet", weights="/nowhere"), "neither a safetensors file"),
        (BackboneConfig(name="test_resnet", pretrained=True), "could be fetched"),
        (BackboneConfig(name="tiny", weights="/nowhere"), "no weights to fetch"),
        (BackboneConfig(name="mixer_b16_224"), "other sizes than its own, 224 x 224: take a Swin"),
        (BackboneConfig(name="beit_base_patch16_224"), "other sizes than its own, 224 x 224"),
        (BackboneConfig(name="levit_128", strides=(16, 32)), "other sizes than its own"),
    ],
)
def test_a_mistake_is_one_clear_line(config: BackboneConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build_backbone(config)
    assert "\n" not in str(caught.value)


def test_weights_of_another_model_are_one_clear_line(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="does not fit test_resnet") as caught:
        build_backbone(BackboneConfig(name="test_resnet", weights=str(tmp_path)))
    assert "\n" not in str(caught.value)
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="does not fit test_resnet"):
        build_backbone(BackboneConfig(name="test_resnet", weights=str(tmp_path)))
