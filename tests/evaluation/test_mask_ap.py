"""AP by masks: worked by hand; what is not drawn is missed, what cannot be judged is counted."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from opendet.annotators.segment import mask_codes
from opendet.evaluation.config import EvaluateConfig
from opendet.evaluation.evaluate import Evaluation, evaluate
from opendet.evaluation.predictions import read_predictions, write_predictions
from opendet.record import Mask, Provenance, Record, Region
from tests.evaluation.test_evaluate import TIERS, Found, region, scene, words

SAM = Provenance("sam")
SIZE_HW = (100, 100)
LEFT, RIGHT = (10, 10, 20, 20), (40, 30, 50, 40)
HALF = 51 / 101
"""Of the recall points, those up to a recall of one half."""


def code_of(pixels: NDArray[np.bool_]) -> str:
    [code] = mask_codes(torch.from_numpy(pixels[None]))
    return code


def block(x0: int, y0: int, x1: int, y1: int, size_hw: tuple[int, int] = SIZE_HW) -> str:
    """All the pixels of a box."""
    pixels = np.zeros(size_hw, np.bool_)
    pixels[y0:y1, x0:x1] = True
    return code_of(pixels)


def masked(label: str | None, box: tuple[int, ...], code: str | None, **more: Any) -> Region:
    return region(label, box, mask=None if code is None else Mask(code, SAM), **more)


def two() -> Record:
    """A red star and a blue ring of 100 pixels each."""
    return scene(
        0,
        masked("red star", LEFT, block(*LEFT)),
        masked("blue ring", RIGHT, block(*RIGHT)),
    )


Said = Sequence[tuple[tuple[int, ...], float, str, str | None]]
"""Box, score, name and mask of each object."""


def judge(record: Record, said: Said, **knobs: Any) -> Evaluation:
    def detect(_: list[Image.Image]) -> list[Found]:
        boxes_xyxy = torch.tensor([one[0] for one in said], dtype=torch.float32).reshape(-1, 4)
        scores = torch.tensor([one[1] for one in said])
        names = [[one[2]] for one in said]
        return [Found(boxes_xyxy, scores, names, masks=[one[3] for one in said])]

    samples = [(record, Image.new("RGB", (record.width, record.height)))]
    return evaluate(detect, samples, words, TIERS, EvaluateConfig(template="{name}", **knobs))


def metrics(record: Record, said: Said, **knobs: Any) -> dict[str, Any]:
    found: dict[str, Any] = judge(record, said, **knobs).metrics["evaluate"]
    return found


def perfect(**change: str | None) -> Said:
    return [
        (LEFT, 0.9, "red star", change.get("left", block(*LEFT))),
        (RIGHT, 0.5, "blue ring", change.get("right", block(*RIGHT))),
    ]


def test_two_masks_worked_by_hand() -> None:
    """The surer mask misses two rows and two pixels: IoU .78, right at six of the ten thresholds.

    At the other four the surer one is wrong, so that recall ends at one half with precision one
    half."""
    pixels = np.zeros(SIZE_HW, np.bool_)
    pixels[10:18, 10:20] = True
    pixels[17, 18:20] = False
    found = metrics(two(), perfect(left=code_of(pixels)), reading="first", top_classes=1)
    assert found["agnostic_ap"] == 1.0, "the boxes are right"
    assert found["agnostic_mask_ap50"] == found["agnostic_mask_ap75"] == 1.0
    assert found["agnostic_mask_ap"] == pytest.approx((6 + 4 * 0.5 * HALF) / 10, abs=1e-6)
    assert found["agnostic_mask_ap_by_size"] == {"small": found["agnostic_mask_ap"]}
    # By name: the star is right at six thresholds, the ring at all ten.
    assert found["named_mask_ap"]["frequent"] == pytest.approx(0.6)
    assert found["named_mask_ap"]["common"] == pytest.approx(1.0)
    assert found["named_mask_ap"]["all"] == pytest.approx(0.8)
    assert found["named_mask_ap50"]["all"] == pytest.approx(1.0)


def test_true_masks_score_one_by_every_reading() -> None:
    found = metrics(two(), perfect())
    assert found["agnostic_mask_ap"] == 1.0
    assert found["named_mask_ap"] == found["named_ap"]
    assert found["masks"] == {"objects": 2, "drawn": 2, "not_drawn": 0}


def test_wrong_names_cost_only_the_named_masks() -> None:
    swapped = [
        (LEFT, 0.9, "blue ring", block(*LEFT)),
        (RIGHT, 0.5, "red star", block(*RIGHT)),
    ]
    found = metrics(two(), swapped, top_classes=1)
    assert found["agnostic_mask_ap"] == 1.0
    assert found["named_mask_ap"]["all"] == 0.0


def test_the_pixels_count_and_not_the_box() -> None:
    """A mask elsewhere is wrong, however right its box; a wrong box harms no right mask."""
    elsewhere = metrics(two(), perfect(left=block(60, 60, 70, 70)))
    assert elsewhere["agnostic_ap50"] == 1.0
    assert elsewhere["agnostic_mask_ap50"] == pytest.approx(0.5 * HALF, abs=1e-6)
    shifted = [((0, 0, 3, 3), *rest) for _, *rest in perfect()]
    found = metrics(two(), shifted)  # type: ignore[arg-type]
    assert found["agnostic_ap50"] == 0.0
    assert found["agnostic_mask_ap"] == 1.0


def test_what_was_not_drawn_is_missed() -> None:
    found = metrics(two(), perfect(left=None))
    assert found["agnostic_ap"] == 1.0
    assert found["agnostic_mask_ap"] == pytest.approx(HALF, abs=1e-6)
    assert found["named_mask_ap"]["frequent"] == 0.0
    assert found["masks"] == {"objects": 2, "drawn": 1, "not_drawn": 1}


def test_nothing_found_and_nothing_drawn() -> None:
    assert metrics(two(), [])["agnostic_mask_ap"] == 0.0
    assert metrics(two(), perfect(left=None, right=None))["agnostic_mask_ap"] == 0.0


SMALLER = block(0, 0, 9, 9, (50, 100))
BARE = {"no mask": None, "broken mask": SMALLER}


@pytest.mark.parametrize(("reason", "code"), BARE.items(), ids=BARE)
def test_an_object_without_a_mask_of_its_own_is_counted_and_costs_nothing(
    reason: str, code: str | None
) -> None:
    """A mask in its box is neither right nor wrong, and none there is not missed."""
    record = scene(0, masked("red star", LEFT, code), masked("blue ring", RIGHT, block(*RIGHT)))
    for said in (perfect(), perfect()[1:]):
        found = metrics(record, said)
        assert found["agnostic_mask_ap"] == 1.0
        assert found["masks"]["objects"] == 1
        assert found["masks"]["unmasked_objects"] == {reason: 1}
        assert set(found["named_mask_ap"]) == {"all", "trained", "common"}
    outside = [(LEFT, 0.9, "red star", block(60, 60, 70, 70)), *perfect()[1:]]
    assert metrics(record, outside)["agnostic_mask_ap"] == pytest.approx(0.5)


def test_crowds_are_nobodys_with_a_mask_or_without() -> None:
    for code in (block(*RIGHT), None):
        record = scene(
            0,
            masked("red star", LEFT, block(*LEFT)),
            masked("blue ring", RIGHT, code, crowd=True),
        )
        found = metrics(record, perfect())
        assert found["agnostic_mask_ap"] == 1.0
        assert found["masks"] == {"objects": 1, "drawn": 2, "not_drawn": 0}


def test_a_split_without_masks_says_so_and_has_no_number() -> None:
    record = scene(0, region("red star", LEFT), region("blue ring", RIGHT))
    found = metrics(record, perfect())
    assert found["masks"]["unmasked_objects"] == {"no mask": 2}
    assert found["masks"]["objects"] == 0
    assert not {"agnostic_mask_ap", "named_mask_ap"} & found.keys()
    assert found["agnostic_ap"] == 1.0


def test_a_detector_of_boxes_has_no_number_of_masks() -> None:
    def detect(_: list[Image.Image]) -> list[Found]:
        return [Found(torch.tensor([LEFT], dtype=torch.float32), torch.ones(1), [["red star"]])]

    samples = [(two(), Image.new("RGB", (100, 100)))]
    found = evaluate(detect, samples, words, TIERS, EvaluateConfig())
    assert not [key for key in found.metrics["evaluate"] if "mask" in key]
    assert found.predictions[0].masks is None


def test_a_found_mask_of_another_image_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"toy-000: masks\.1\.counts is no RLE of its im") as told:
        judge(two(), perfect(right=SMALLER))
    assert "\n" not in str(told.value)


def test_images_without_an_object_keep_their_masks_apart() -> None:
    """A false mask in another image costs its share: what is whose is never mixed up."""
    empty, full = scene(1), two()
    images = iter([(), perfect()[:1], perfect()])
    records = [replace(full, key="a", regions=full.regions[:0]), empty, full]

    def detect(shown: list[Image.Image]) -> list[Found]:
        return [_found(next(images)) for _ in shown]

    samples = [(one, Image.new("RGB", (100, 100))) for one in records]
    config = EvaluateConfig(template="{name}", batch_size=2, reading="first", top_classes=1)
    judged = evaluate(detect, samples, words, TIERS, config)
    found = judged.metrics["evaluate"]
    # In the order of the scores: .9 of an image without objects, .9 of the star, .5 of the ring.
    expected = (HALF * 101 * 2 / 3 + 50 * 2 / 3) / 101
    assert found["agnostic_mask_ap"] == pytest.approx(expected, abs=1e-6)
    assert found["agnostic_mask_ap"] == found["agnostic_ap"]
    assert found["named_mask_ap"] == found["named_ap"]
    assert [len(one.masks or ()) for one in judged.predictions] == [0, 1, 2]


def _found(said: Said) -> Found:
    return Found(
        torch.tensor([one[0] for one in said], dtype=torch.float32).reshape(-1, 4),
        torch.tensor([one[1] for one in said]),
        [[one[2]] for one in said],
        masks=[one[3] for one in said],
    )


def test_only_judged_detections_keep_their_masks_in_their_order() -> None:
    said: Said = [
        (LEFT, 0.3, "red star", block(*LEFT)),
        (RIGHT, 0.01, "blue ring", block(*RIGHT)),
        (RIGHT, 0.8, "blue ring", None),
    ]
    [one] = judge(two(), said).predictions
    assert one.masks == (None, block(*LEFT))
    assert judge(two(), said, max_detections=1).predictions[0].masks == (None,)


def test_what_is_not_drawn_takes_no_place_among_the_best_of_a_class() -> None:
    said = [(LEFT, 0.95, "red star", None), *perfect()]
    found = metrics(two(), said, per_class=1, reading="first", top_classes=1)
    assert found["named_mask_ap"]["all"] == 1.0
    fewer = [(LEFT, 0.95, "red star", block(60, 60, 70, 70)), *perfect()]
    found = metrics(two(), fewer, per_class=1, reading="first", top_classes=1)
    assert found["named_mask_ap"]["frequent"] == 0.0


def test_predictions_keep_their_masks(tmp_path: Path) -> None:
    predictions = judge(two(), perfect(left=None)).predictions
    write_predictions(tmp_path / "a.parquet", predictions)
    write_predictions(tmp_path / "b.parquet", predictions)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    [again] = read_predictions(tmp_path / "a.parquet")
    assert again.masks == predictions[0].masks == (None, block(*RIGHT))


def test_predictions_of_before_there_were_masks_are_read(tmp_path: Path) -> None:
    write_predictions(tmp_path / "new.parquet", judge(two(), perfect()).predictions)
    table = pq.read_table(tmp_path / "new.parquet").drop_columns("masks")
    pq.write_table(table, tmp_path / "old.parquet")
    [again] = read_predictions(tmp_path / "old.parquet")
    assert again.masks is None
    assert again.names == (("red star",), ("blue ring",))
