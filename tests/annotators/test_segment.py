"""Masks for boxes and points, through the path that a user's checkpoint takes."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from faster_coco_eval.core.mask import decode
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_llava import save_tiny_llava
from tiny_sam import save_tiny_sam, save_tiny_sam3, save_tiny_sam3_video

from opendet.annotators.segment import FAMILIES, SegmentConfig, Segmenter
from opendet.annotators.weights import folder_digest
from opendet.record import BoxXYXY

BOXES: list[BoxXYXY] = [(1, 2, 30, 40), (10.5, 5, 60, 45), (0, 0, 80, 50), (70, 40, 79, 49)]
POINTS = [(5.0, 6.0), (40.0, 25.5), (79.0, 49.0)]


@pytest.fixture(scope="module", params=["sam", "sam2", "sam2_video", "sam3_tracker"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sam(tmp_path_factory.mktemp("models") / request.param, request.param)


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sam(tmp_path_factory.mktemp("models") / "tiny-sam", "sam")


def config(checkpoint: Path | str, **knobs: object) -> SegmentConfig:
    return SegmentConfig.model_validate({"model": str(checkpoint), "device": "cpu", **knobs})


def photo(width: int = 80, height: int = 50) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def mask_of(code: str) -> np.ndarray:
    """(H, W) bool."""
    return decode({"size": [50, 80], "counts": code}).astype(bool)


def by_the_library(
    checkpoint: Path, prompts: dict[str, object], *, several: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, M, H, W) masks and (N, M) scores of one plain call with pixels and every prompt."""
    model_class, processor_class = FAMILIES[checkpoint.name]
    processor = getattr(transformers, processor_class).from_pretrained(checkpoint)
    model = getattr(transformers, model_class).from_pretrained(checkpoint).eval()
    inputs = processor(images=photo(), return_tensors="pt", **prompts)
    sizes = [inputs.pop(key) for key in list(inputs) if key.endswith("_sizes")]
    if "input_boxes" in inputs:
        inputs["input_boxes"] = inputs["input_boxes"].float()
    with torch.inference_mode():
        drawn = model(**inputs, multimask_output=several)
    [masks] = processor.post_process_masks(drawn.pred_masks, *sizes)
    return masks, drawn.iou_scores[0]


def check(found: list[tuple[str, float] | None], masks: torch.Tensor, scores: torch.Tensor) -> None:
    assert len(found) == len(masks)
    for one, truth, scored in zip(found, masks, scores, strict=True):
        best = int(scored.argmax())
        if one is None:
            assert not truth[best].any()
            continue
        assert np.mean(mask_of(one[0]) ^ truth[best].numpy()) <= 0.002  # a batch's rounding
        assert one[1] == pytest.approx(float(scored[best].clamp(0, 1)), abs=1e-5)


def test_boxes_become_the_masks_that_the_library_draws(checkpoint: Path) -> None:
    prompts = {"input_boxes": [[list(map(float, box)) for box in BOXES]]}
    masks, scores = by_the_library(checkpoint, prompts, several=False)
    assert masks.shape == (4, 1, 50, 80)
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) > 1
    found = Segmenter(config(checkpoint, batch_size=3)).segment(photo(), BOXES)
    check(found, masks, scores)
    assert any(found)


def test_points_become_the_surest_of_three_masks(checkpoint: Path) -> None:
    prompts = {
        "input_points": [[[list(point)] for point in POINTS]],
        "input_labels": [[[1]] * len(POINTS)],
    }
    masks, scores = by_the_library(checkpoint, prompts, several=True)
    assert masks.shape == (3, 3, 50, 80)
    check(Segmenter(config(checkpoint)).segment_points(photo(), POINTS), masks, scores)


def test_the_image_is_embedded_once_for_all_boxes(checkpoint: Path) -> None:
    segmenter = Segmenter(config(checkpoint, batch_size=2))
    looks: list[int] = []
    segmenter._model.vision_encoder.register_forward_hook(lambda *_: looks.append(1))
    one_by_one = [segmenter.segment(photo(), [box])[0] for box in BOXES]
    assert len(looks) == 4
    together = segmenter.segment(photo(), BOXES)
    assert len(looks) == 5
    for alone, among in zip(one_by_one, together, strict=True):
        assert (alone is None) == (among is None)
        if alone and among:
            assert np.mean(mask_of(alone[0]) ^ mask_of(among[0])) <= 0.002
            assert alone[1] == pytest.approx(among[1], abs=1e-5)
    assert segmenter.segment(photo(), []) == []
    assert segmenter.segment_points(photo(), []) == []
    assert len(looks) == 5


def test_masks_take_the_images_size_one_by_one(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen of a photograph of 48 megapixels were 4.6 GB at once, and are 1.4 GB."""
    segmenter = Segmenter(config(checkpoint))
    enlarge, at_once = segmenter._enlarged, list[int]()

    def watched(masks: torch.Tensor, sizes: tuple[Any, ...]) -> torch.Tensor:
        at_once.append(len(masks))
        return enlarge(masks, sizes)

    monkeypatch.setattr(segmenter, "_enlarged", watched)
    segmenter.segment(photo(), BOXES)
    assert at_once == [1] * len(BOXES)


@pytest.mark.parametrize("size_wh", [(1, 3000), (3000, 2)])
def test_a_strip_of_no_pixel_has_no_masks(checkpoint: Path, size_wh: tuple[int, int]) -> None:
    segmenter = Segmenter(config(checkpoint))
    assert segmenter.segment(photo(*size_wh), [(0, 0, *size_wh)] * 2) == [None, None]
    assert segmenter.segment_points(photo(*size_wh), [(0.0, 0.0)]) == [None]


def test_the_narrowest_strip_of_a_pixel_is_drawn_in(checkpoint: Path) -> None:
    for size_wh in ((1, 128), (128, 1)):
        assert len(Segmenter(config(checkpoint)).segment(photo(*size_wh), [(0, 0, *size_wh)])) == 1


def test_empty_and_unsure_masks_are_none(sam: Path) -> None:
    segmenter = Segmenter(config(sam))
    [(_, score)] = [one for one in segmenter.segment(photo(), BOXES[:1]) if one]
    assert Segmenter(config(sam, min_score=score + 0.01)).segment(photo(), BOXES[:1]) == [None]
    empty = Segmenter(config(sam))
    with torch.no_grad():  # every pixel far outside
        for head in empty._model.mask_decoder.output_hypernetworks_mlps:
            head.proj_out.weight.zero_()
            head.proj_out.bias.zero_()
    assert empty.segment(photo(), BOXES) == [None] * 4


def test_a_score_that_is_no_number_is_one_clear_line(sam: Path) -> None:
    segmenter = Segmenter(config(sam))
    with torch.no_grad():
        segmenter._model.mask_decoder.iou_prediction_head.proj_out.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="no number") as caught:
        segmenter.segment(photo(), BOXES)
    assert "\n" not in str(caught.value)


def test_half_precision_draws_masks_of_the_images_size(checkpoint: Path) -> None:
    segmenter = Segmenter(config(checkpoint, dtype="bfloat16"))
    assert segmenter.name == checkpoint.name
    assert segmenter.revision == folder_digest(checkpoint)
    drawn = [*segmenter.segment(photo(), BOXES), *segmenter.segment_points(photo(), POINTS)]
    assert len(drawn) == 7
    assert any(drawn)
    for code, score in filter(None, drawn):
        assert mask_of(code).shape == (50, 80)
        assert 0 <= score <= 1


def test_sam3s_own_folder_gives_its_tracker_with_all_its_weights(tmp_path: Path) -> None:
    both = save_tiny_sam3_video(tmp_path / "sam3")
    segmenter = Segmenter(config(both))
    weights = load_file(both / "model.safetensors")
    decoder = segmenter._model.mask_decoder.state_dict()
    assert len(decoder) > 50
    for name, weight in decoder.items():
        assert torch.equal(weight, weights[f"tracker_model.mask_decoder.{name}"])
    assert len(segmenter.segment(photo(), BOXES)) == 4


def test_a_model_that_lacks_weights_is_no_model(sam: Path, tmp_path: Path) -> None:
    shutil.copytree(sam, tmp_path / "torn")
    weights = load_file(sam / "model.safetensors")
    del weights["mask_decoder.iou_token.weight"]
    save_file(weights, tmp_path / "torn/model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"^regions\.masks\.model: .*lack 1 .*iou_token"):
        Segmenter(config(tmp_path / "torn"))


def test_a_model_that_cannot_be_loaded_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    cases = {
        "": "is empty: name a folder",
        "./no/such/folder": "no folder ./no/such/folder",
        str(tmp_path / "empty"): "cannot load",
        "nobody/has-this-model": "cannot load 'nobody/has-this-model'",
        str(save_tiny_sam3(tmp_path / "sam3")): "it is a sam3, not one of sam",
        str(save_tiny_llava(tmp_path / "llava")): "it is a llava, not one of sam, sam2",
    }
    for model, words in cases.items():
        with pytest.raises(ValueError, match=r"^regions\.masks\.model") as caught:
            Segmenter(config(model))
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
