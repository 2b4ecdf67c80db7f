import dataclasses

import pytest
import torch
from torch import Tensor

from opendet.model.config import BackboneConfig
from opendet.model.denoising import noise_boxes
from opendet.model.detector import OpenDetector
from opendet.model.outputs import DetectorOutput
from opendet.model.prompts import sample_boxes
from tests.model.worlds import TINY_DETECTOR, build_detector, build_namer

SIZES = torch.tensor([[64, 96], [50, 40], [33, 96]])


def _batch(seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    images = torch.rand(3, 3, 64, 96)
    for image, (height, width) in zip(images, SIZES.tolist(), strict=True):
        image[:, height:] = 0
        image[:, :, width:] = 0
    return images


def _prompts(detector: OpenDetector, output: DetectorOutput, image: int, count: int) -> Tensor:
    return detector.prompt(output, torch.full((count,), image), torch.arange(count))


def _alone(detector: OpenDetector, image: Tensor, size_hw: Tensor) -> DetectorOutput:
    height, width = size_hw.tolist()
    output: DetectorOutput = detector(image[None, :, :height, :width], size_hw[None])
    return output


@pytest.mark.parametrize(
    "switches",
    [{"prompt": "query"}, {}, {"glimpse_side": 16}, {"iou_head": True, "selection": "topk"}],
    ids=["query", "distiller", "glimpse", "iou_head"],
)
def test_an_image_alone_and_in_a_padded_batch_gives_equal_detections(
    switches: dict[str, object],
) -> None:
    detector = build_detector(TINY_DETECTOR.model_copy(update=switches)).eval()
    images = _batch()
    with torch.no_grad():
        together = detector(images, SIZES)
        for i in range(3):
            alone = _alone(detector, images[i], SIZES[i])
            count = int(alone.valid.sum())
            assert count == int(together.valid[i].sum())
            torch.testing.assert_close(
                _prompts(detector, together, i, count),
                _prompts(detector, alone, 0, count),
                atol=1e-4,
                rtol=0,
            )
            for field in ("queries", "boxes_cxcywh", "logits"):
                ours, theirs = getattr(together, field)[i, :count], getattr(alone, field)[0, :count]
                torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


def test_the_padding_itself_says_nothing() -> None:
    detector = build_detector().eval()
    images = _batch()
    with torch.no_grad():
        before = detector(images, SIZES)
        images[1, :, 50:] = 7.0
        after = detector(images, SIZES)
    assert torch.equal(before.boxes_cxcywh, after.boxes_cxcywh)


def test_shapes_and_ranges_in_training() -> None:
    detector = build_detector().train()
    output = detector(_batch(), SIZES)
    assert output.boxes_cxcywh.shape == (3, 12, 4)
    assert len(output.layers) == 3
    prompts = _prompts(detector, output, 1, 12)
    torch.testing.assert_close(prompts.norm(dim=-1), torch.ones(12))
    assert prompts.shape == (12, 32)
    assert ((output.boxes_cxcywh >= 0) & (output.boxes_cxcywh <= 1)).all()
    assert (output.scores() <= 1).all()


def test_queries_at_test_are_a_prefix_of_those_in_training() -> None:
    detector = build_detector().eval()
    with torch.no_grad():
        few = detector(_batch(), SIZES)
        detector.selection.config = TINY_DETECTOR.model_copy(update={"selection": "topk"})
        many = detector(_batch(), SIZES)
    assert few.valid.sum(1).tolist() == [3, 3, 3]
    assert many.valid.shape == (3, 12)
    torch.testing.assert_close(few.proposals.logits, many.proposals.logits[:, :3])


def test_an_image_with_fewer_cells_than_queries() -> None:
    config = TINY_DETECTOR.model_copy(update={"queries": 300})
    output = build_detector(config).train()(
        torch.rand(2, 3, 32, 32), torch.tensor([[32, 32], [8, 8]])
    )
    assert output.valid.sum(1).tolist() == [21, 1]
    assert output.boxes_cxcywh.isfinite().all()
    assert (output.scores()[1, 1:] == 0).all()


def test_an_image_of_one_pixel_row() -> None:
    sizes = torch.tensor([[64, 64], [1, 64], [1, 1]])
    for detector in (build_detector().train(), build_detector().eval()):
        output = detector(torch.rand(3, 3, 64, 64), sizes)
        assert output.valid.any(1).all()
        assert output.boxes_cxcywh.isfinite().all()


def test_boxes_stay_fp32_under_autocast() -> None:
    detector = build_detector().eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output = detector(_batch(), SIZES)
    for layer in (output.proposals, *output.layers):
        assert layer.boxes_cxcywh.dtype == layer.logits.dtype == torch.float32
    assert _prompts(detector, output, 0, 3).dtype == torch.float32


def test_cross_layers_and_no_encoder_and_one_level() -> None:
    backbone = BackboneConfig(name="tiny", strides=(16,), tiny_channels=(8, 8, 8))
    config = TINY_DETECTOR.model_copy(
        update={
            "backbone": backbone,
            "extra_level": False,
            "encoder_layers": 0,
            "cross_layers": 1,
            "self_layers": 1,
        }
    )
    output = build_detector(config).eval()(_batch(), SIZES)
    assert output.features.shapes == ((4, 6),)
    assert len(output.layers) == 2


@pytest.mark.parametrize("name", ["test_resnet", "swin_tiny_patch4_window7_224"])
def test_timm_backbones(name: str) -> None:
    backbone = BackboneConfig(name=name)
    detector = build_detector(TINY_DETECTOR.model_copy(update={"backbone": backbone})).eval()
    with torch.no_grad():
        output = detector(_batch(), SIZES)
        alone = _alone(detector, _batch()[1], SIZES[1])
    assert output.features.shapes == ((8, 12), (4, 6), (2, 3), (1, 2))
    torch.testing.assert_close(output.boxes_cxcywh[1], alone.boxes_cxcywh[0], atol=1e-4, rtol=0)


def test_an_unknown_backbone_is_one_clear_line() -> None:
    backbone = BackboneConfig(name="resnet5O")
    with pytest.raises(ValueError, match="timm knows no `resnet5O`"):
        OpenDetector(TINY_DETECTOR.model_copy(update={"backbone": backbone}), build_namer())


def test_noised_boxes_change_nothing_for_the_queries() -> None:
    detector = build_detector().train()
    images = _batch()
    boxes = [torch.rand(count, 4) * 0.3 + 0.2 for count in (2, 0, 3)]
    generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    noised = noise_boxes(boxes, generators, pairs=4, scale=0.4)
    plain, beside = detector(images, SIZES), detector(images, SIZES, noised)
    for ours, theirs in zip(plain.layers, beside.layers, strict=True):
        torch.testing.assert_close(ours.logits, theirs.logits, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(ours.boxes_cxcywh, theirs.boxes_cxcywh, atol=1e-5, rtol=1e-4)
    assert beside.denoising is not None
    for layer in beside.denoising.layers:
        assert layer.boxes_cxcywh.shape == (3, noised.groups.shape[1], 4)
        assert layer.boxes_cxcywh.isfinite().all()


def test_outputs_are_frozen() -> None:
    output = build_detector()(_batch(), SIZES)
    with pytest.raises(dataclasses.FrozenInstanceError):
        output.valid = output.images


def test_a_glimpse_is_the_box_of_its_own_image() -> None:
    maps = torch.arange(2 * 16.0).view(2, 1, 4, 4)
    boxes = torch.tensor([[0.25, 0.25, 0.5, 0.5], [0.75, 0.5, 0.5, 1.0], [0.5, 0.5, 1.0, 1.0]])
    places = torch.tensor([1, 0, 1])
    samples = sample_boxes(maps, places, boxes, side=2)
    torch.testing.assert_close(samples[0, 0], maps[1, 0, :2, :2])
    torch.testing.assert_close(samples[1, 0], maps[0, 0, :, 2:].reshape(2, 2, 2).mean(1))
    torch.testing.assert_close(samples[2, 0, 0, 0], maps[1, 0, :2, :2].mean())
    assert sample_boxes(maps, places[:0], boxes[:0], side=2).shape == (0, 1, 2, 2)


def test_weights_of_nan_are_one_clear_line_at_test() -> None:
    detector = build_detector().eval()
    with torch.no_grad():
        detector.selection.object_head.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="no token of an image has a finite score"):
        detector(torch.rand(1, 3, 64, 64), torch.tensor([[64, 64]]))


def test_a_score_is_that_of_an_object_times_the_overlap_it_expects() -> None:
    detector = build_detector(TINY_DETECTOR.model_copy(update={"iou_head": True})).eval()
    with torch.no_grad():
        output = detector(torch.rand(1, 3, 64, 64), torch.tensor([[64, 64]]))
    overlaps = output.layers[-1].iou_logits
    assert overlaps is not None
    wanted = output.logits.sigmoid() * overlaps.sigmoid() * output.valid
    torch.testing.assert_close(output.scores(), wanted)
