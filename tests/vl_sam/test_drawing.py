"""Masks for pairs of points and for masks, through the path that a user's checkpoint takes."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from faster_coco_eval.core.mask import decode
from PIL import Image
from tiny_sam import save_tiny_sam

from opendet.annotators.segment import FAMILIES, Drawn, PointPair, SegmentConfig, Segmenter

PAIRS = [
    PointPair((5.0, 6.0), (70.0, 40.0)),
    PointPair((40.0, 25.5), (2.0, 2.0)),
    PointPair((79.0, 49.0), (0.0, 0.0)),
]


@pytest.fixture(scope="module", params=["sam", "sam2", "sam3_tracker"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sam(tmp_path_factory.mktemp("models") / request.param, request.param)


def segmenter(checkpoint: Path, **knobs: object) -> Segmenter:
    config = {"model": str(checkpoint), "device": "cpu", **knobs}
    return Segmenter(SegmentConfig.model_validate(config))


def photo(width: int = 80, height: int = 50) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def by_the_library(
    checkpoint: Path, again: list[torch.Tensor] | None = None
) -> list[tuple[np.ndarray, float]]:
    """One plain call with pixels for each pair by itself."""
    model_class, processor_class = FAMILIES[checkpoint.name]
    processor = getattr(transformers, processor_class).from_pretrained(checkpoint)
    model = getattr(transformers, model_class).from_pretrained(checkpoint).eval()
    answers = []
    for place, pair in enumerate(PAIRS):
        inputs = processor(
            images=photo(),
            return_tensors="pt",
            input_points=[[[list(pair.inside_xy), list(pair.outside_xy)]]],
            input_labels=[[[1, 0]]],
        )
        sizes = [inputs.pop(key) for key in list(inputs) if key.endswith("_sizes")]
        masks = {} if again is None else {"input_masks": again[place][None, None]}
        inputs["input_points"] = inputs["input_points"].float()
        with torch.inference_mode():
            drawn = model(**inputs, **masks, multimask_output=again is None)
        best = int(drawn.iou_scores[0, 0].argmax())
        [full] = processor.post_process_masks(drawn.pred_masks, *sizes)
        answers.append((full[0, best].numpy(), float(drawn.iou_scores[0, 0, best].clamp(0, 1))))
    return answers


def same(drawn: list[Drawn | None], truths: list[tuple[np.ndarray, float]]) -> None:
    assert len(drawn) == len(truths)
    for one, (mask, score) in zip(drawn, truths, strict=True):
        if one is None:
            assert not mask.any()
            continue
        pixels = decode({"size": [50, 80], "counts": one.code}).astype(bool)
        assert np.mean(pixels ^ mask) <= 0.002  # a batch's rounding
        assert one.score == pytest.approx(score, abs=1e-5)


def test_pairs_and_their_masks_are_drawn_as_the_library_draws_them(checkpoint: Path) -> None:
    model = segmenter(checkpoint, batch_size=2)
    looked = model.look(photo())
    first = model.draw(looked, PAIRS)
    same(first, by_the_library(checkpoint))
    assert all(first)
    assert len({one.code for one in first if one}) > 1
    prompts = [one.prompt for one in first if one]
    again = model.draw(looked, PAIRS, prompts)
    same(again, by_the_library(checkpoint, prompts))
    assert [one and one.score for one in again] != [one and one.score for one in first]


def test_the_second_point_makes_a_difference(checkpoint: Path) -> None:
    model = segmenter(checkpoint)
    looked = model.look(photo())
    inside = (40.0, 25.0)
    pairs = [PointPair(inside, (x, y)) for x, y in ((0.0, 0.0), (42.0, 25.0), (79.0, 49.0))]
    drawn = model.draw(looked, pairs)
    assert len({one.score for one in drawn if one}) == 3


def test_an_image_is_looked_at_once_and_pairs_do_not_hang_on_each_other(checkpoint: Path) -> None:
    model = segmenter(checkpoint)
    looks: list[int] = []
    model._model.vision_encoder.register_forward_hook(lambda *_: looks.append(1))
    looked = model.look(photo())
    together = model.draw(looked, PAIRS)
    alone = [model.draw(looked, [pair])[0] for pair in PAIRS]
    assert len(looks) == 1
    for one, other in zip(together, alone, strict=True):
        assert one is not None
        assert other is not None
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert torch.allclose(one.prompt, other.prompt, atol=1e-3)
    assert model.draw(looked, []) == []


def test_an_upright_image_is_no_lying_one(checkpoint: Path) -> None:
    """Points are scaled by the image's own sides."""
    model = segmenter(checkpoint)
    for size in ((50, 80), (33, 90), (64, 64)):
        looked = model.look(photo(*size))
        [one] = model.draw(looked, [PointPair((3.0, 60.0), (20.0, 5.0))])
        assert one is not None
        assert decode({"size": [size[1], size[0]], "counts": one.code}).shape == size[::-1]


def test_half_precision(checkpoint: Path) -> None:
    model = segmenter(checkpoint, dtype="bfloat16")
    looked = model.look(photo())
    first = [one for one in model.draw(looked, PAIRS) if one]
    assert first
    again = model.draw(looked, PAIRS[: len(first)], [one.prompt for one in first])
    assert len(again) == len(first)


def test_a_mask_of_another_size_is_one_clear_line(checkpoint: Path) -> None:
    model = segmenter(checkpoint)
    side = 4 * model.look(photo()).features[-1].shape[-1]
    with pytest.raises(
        ValueError, match=rf"a mask of 7 x 9 is no prompt: .* takes {side} x {side}"
    ):
        model.draw(model.look(photo()), PAIRS[:1], [torch.zeros(7, 9)])


def test_an_unsure_mask_is_none(checkpoint: Path) -> None:
    model = segmenter(checkpoint, min_score=1.0)
    assert model.draw(model.look(photo()), PAIRS) == [None] * 3
