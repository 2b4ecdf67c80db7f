"""Boxes of any detector become masks of the image's own size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_sam import save_tiny_sam

from opendet.annotators.segment import SegmentConfig, Segmenter, mask_codes
from opendet.detections import Detections
from opendet.evaluation.config import EvaluateConfig
from opendet.evaluation.evaluate import evaluate
from opendet.masks import Rle, compressed, mask_areas
from opendet.predict_masks import Masking, mask_pixels, masking, weights_of, with_masks
from tests.evaluation.test_evaluate import TIERS, words
from tests.evaluation.test_mask_ap import block, masked, scene

BOXES = torch.tensor([[1.0, 2, 30, 40], [10.5, 5, 60, 45], [0, 0, 80, 50]])


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sam(tmp_path_factory.mktemp("models") / "tiny-sam", "sam")


def config(sam: Path, **knobs: object) -> SegmentConfig:
    return SegmentConfig.model_validate({"model": str(sam), "device": "cpu", **knobs})


def photo(width: int = 80, height: int = 50) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def boxes(count: int = 3) -> Detections:
    names = [["red star"], ["blue ring"], ["disc"]]
    scores = torch.tensor([0.9, 0.8, 0.7])
    return Detections(BOXES[:count], scores[:count], names[:count], torch.zeros(count, 8))


class Boxes:
    """A detector that finds the same boxes in every image, one fewer in each."""

    def detect(self, images: Sequence[Image.Image]) -> list[Detections]:
        return [boxes(3 - number) for number in range(len(images))]


def test_each_box_gets_the_mask_that_is_drawn_for_it(sam: Path) -> None:
    segmenter = Segmenter(config(sam))
    found = with_masks(photo(), boxes(), segmenter)
    drawn = segmenter.segment(photo(), [tuple(box) for box in BOXES.tolist()])
    assert found.masks == [one[0] if one else None for one in drawn]
    assert len(set(found.masks or [])) > 1
    assert torch.equal(found.boxes_xyxy, BOXES)
    assert found.names == boxes().names
    for code in found.masks or []:
        assert code is not None
        assert mask_pixels(code, (50, 80)).shape == (50, 80)


def test_what_the_model_is_not_sure_of_has_no_mask(sam: Path) -> None:
    found = with_masks(photo(), boxes(), Segmenter(config(sam, min_score=1.0)))
    assert found.masks == [None, None, None]


def test_nothing_found_has_no_masks(sam: Path) -> None:
    found = with_masks(photo(), boxes(0), Segmenter(config(sam)))
    assert found.masks == []


def test_each_image_has_its_own_masks_whatever_its_mode_and_size(sam: Path) -> None:
    detector = masking(Boxes(), config(sam), "--masks")
    images = [photo(), photo(90, 60).convert("L"), photo(80, 50)]
    found = detector.detect(images)
    assert [len(one.masks or []) for one in found] == [3, 2, 1]
    [alone] = detector.detect(images[:1])
    assert alone.masks == found[0].masks
    for image, one in zip(images, found, strict=True):
        for code in one.masks or []:
            assert code is not None
            size_hw = image.height, image.width
            compressed(Rle(size_hw, code), size_hw, "of the image's own size")


def test_without_a_model_the_detector_stays_as_it_is() -> None:
    detector = Boxes()
    assert masking(detector, SegmentConfig(), "--masks") is detector


def test_loading_leaves_the_process_as_it_was(sam: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """All threads of torch, and nothing on stderr."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        capfd.readouterr()
        masking(Boxes(), config(sam), "--masks")
        assert torch.get_num_threads() == 2
        assert capfd.readouterr().err == ""
    finally:
        torch.set_num_threads(before)


def test_no_model_there_is_one_line_that_names_its_place(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^evaluate\.masks\.model: ") as told:
        masking(Boxes(), config(tmp_path), "evaluate.masks.model")
    assert "\n" not in str(told.value)


def test_codes_come_back_to_the_pixel() -> None:
    rng = np.random.default_rng(0)
    for height, width in [(1, 1), (7, 3), (50, 80)]:
        pixels = torch.from_numpy(rng.random((5, height, width)) < 0.4)
        pixels[0] = True
        for code, truth in zip(mask_codes(pixels), pixels.numpy(), strict=True):
            if code:
                np.testing.assert_array_equal(mask_pixels(code, (height, width)), truth)
                size_hw = height, width
                again = compressed(Rle(size_hw, code), size_hw, "here")
                assert again["counts"].decode() == code
                assert mask_areas([again]).tolist() == [truth.sum()]


def test_a_folder_of_the_same_name_with_other_weights_is_another(sam: Path, tmp_path: Path) -> None:
    other = save_tiny_sam(tmp_path / "tiny-sam", "sam2")
    assert weights_of(config(sam)) != weights_of(config(other))
    assert weights_of(SegmentConfig(model="facebook/sam-vit-base")) == weights_of(SegmentConfig())


def test_a_segmented_detector_is_judged_by_its_masks(sam: Path) -> None:
    """A truth that is what SAM draws has a mask AP of one, whatever the boxes are."""
    image = photo(100, 100)
    detector = Masking(Boxes(), Segmenter(config(sam)))
    [found] = detector.detect([image])
    truths = {True: (found.masks or [])[0], False: block(98, 98, 100, 100)}
    for same, code in truths.items():
        record = scene(0, masked("red star", (60, 60, 90, 90), code))
        judged = evaluate(
            detector.detect, [(record, image)], words, TIERS, EvaluateConfig(max_detections=1)
        )
        metrics = judged.metrics["evaluate"]
        assert metrics["agnostic_mask_ap"] == (1.0 if same else 0.0)
        assert metrics["agnostic_ap50"] == 0.0
