"""Annotators against the source's truth: numbers worked by hand, crowds, synonyms, nothing."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opendet.annotators.onnx_detector import Onnx, OnnxConfig
from opendet.evaluation.annotator_quality import AnnotatorQuality, judge_annotators
from opendet.record import BoxXYXY, Provenance, Record, Region
from tests.annotated_world import CAT, DOG, FLOCK, found, known, record

PAIR = (known(CAT, "cat"), known(DOG, "dog"))
FAR: BoxXYXY = (0, 90, 20, 110)
LOW_CAT: BoxXYXY = (10, 20, 50, 60)
"""IoU with CAT: 30 of 50 rows."""


def judge(*regions: Region) -> AnnotatorQuality:
    (one,) = judge_annotators([record(*regions)])
    return one


def test_all_right() -> None:
    one = judge(*PAIR, found(CAT, "cat"), found(DOG, "Dog "))
    assert (one.annotator, one.revision, one.boxes, one.objects, one.images) == (
        "eye",
        "1",
        2,
        2,
        1,
    )
    rest = [one.ap, one.ap50, one.box_ap50, one.box_precision, one.box_recall, one.box_f1]
    assert rest == pytest.approx([1] * 6)
    rest = [one.precision, one.recall, one.f1, one.mean_iou, one.right_names]
    assert rest == pytest.approx([1] * 5)


def test_a_number_worked_by_hand() -> None:
    """The cat a little low, the dog called a cow, and a box of nothing."""
    one = judge(*PAIR, found(LOW_CAT, "cat"), found(DOG, "cow", score=0.8), found(FAR, "cat"))
    assert one.boxes == 3
    assert one.mean_iou == pytest.approx((0.6 + 1) / 2)
    assert (one.box_precision, one.box_recall) == pytest.approx((2 / 3, 1))
    assert one.box_f1 == pytest.approx(0.8)
    assert (one.precision, one.recall) == pytest.approx((1 / 3, 1 / 2))
    assert one.f1 == pytest.approx(0.4)
    assert one.right_names == pytest.approx(0.5)
    # the cat is found first (it stands before its equal) at IoU .5, .55 and .6; the dog never
    assert one.ap50 == pytest.approx(0.5)
    assert one.ap == pytest.approx(3 / 10 / 2)


def test_synonyms_of_the_source_are_right() -> None:
    truth = (known(CAT, "Cat", "Pussy Cat", "kitty"), known(DOG, "dog"))
    one = judge(*truth, found(CAT, "kitty", "animal"), found(DOG, "dog"))
    assert (one.ap50, one.f1, one.right_names) == (1, 1, 1)
    only_first = judge(*truth, found(CAT, "animal", "kitty"), found(DOG, "dog"))
    assert only_first.right_names == 0.5


def test_a_word_of_two_labels_is_right_for_both() -> None:
    """AP has one class for a word, the label that it stands for most often; a match has no such
    need."""
    truth = (known(CAT, "mug", "cup"), known(DOG, "glass", "cup"), known(FAR, "glass", "cup"))
    one = judge(*truth, *(found(box, "cup") for box in (CAT, DOG, FAR)))
    assert (one.precision, one.recall) == (1, 1)
    assert one.ap50 < 1


def test_crowds_are_neither_right_nor_wrong() -> None:
    truth = (*PAIR, known(FLOCK, "sheep", crowd=True))
    right = (found(CAT, "cat"), found(DOG, "dog"))
    in_flock = [found((x, 70, x + 20, 90), "sheep") for x in (0, 40, 80)]
    one = judge(*truth, *right, *in_flock)
    assert (one.boxes, one.objects) == (5, 2)
    assert (one.precision, one.box_precision, one.recall) == (1, 1, 1)
    assert (one.ap50, one.box_ap50) == pytest.approx((1, 1))
    other = judge(*truth, *right, *(replace(sheep, names=("dog",)) for sheep in in_flock))
    assert other.box_precision == 1
    assert other.precision == pytest.approx(2 / 5), "in a crowd of sheep a dog is wrong"


def test_one_box_finds_one_object() -> None:
    one = judge(*PAIR, found(CAT, "cat"), found(LOW_CAT, "cat", score=0.95))
    assert (one.box_precision, one.box_recall) == (0.5, 0.5)
    assert one.mean_iou == pytest.approx(0.6), "the surer one asks first"


def test_a_proposer_says_no_name() -> None:
    one = judge(*PAIR, found(CAT), found(DOG))
    assert (one.box_ap50, one.box_f1) == pytest.approx((1, 1))
    assert (one.ap50, one.precision, one.recall, one.right_names) == (0, 0, 0, 0)


def test_objects_without_a_label_count_for_boxes_alone() -> None:
    one = judge(known(CAT, "cat"), known(DOG, None), found(CAT, "cat"), found(DOG, "dog"))
    assert (one.box_recall, one.precision, one.recall, one.right_names) == (1, 1, 1, 1)
    nobody = judge(known(CAT, None), found(CAT, "cat"))
    assert math.isnan(nobody.ap50)
    assert math.isnan(nobody.recall)
    assert nobody.box_f1 == 1


def test_each_annotator_by_itself_and_what_a_filter_refused() -> None:
    refused = replace(found(FAR, "cat"), refusal="too small")
    regions = (*PAIR, found(CAT, "cat"), refused, found(DOG, "dog", by="ear"))
    again = found(DOG, "cow", revision="2")
    eye, newer, ear = sorted(
        judge_annotators([record(*regions, again)]),
        key=lambda x: (x.annotator == "ear", x.revision),
    )
    assert (eye.boxes, eye.precision, eye.recall) == (1, 1, 0.5)
    assert (newer.revision, newer.precision) == ("2", 0)
    assert (ear.annotator, ear.precision) == ("ear", 1)


def test_an_image_where_it_found_nothing_costs_recall_and_one_where_nothing_is_precision() -> None:
    both = [record(*PAIR, found(CAT, "cat")), record(found(CAT, "cat"), key="empty"), record(*PAIR)]
    (one,) = judge_annotators(both)
    assert (one.images, one.objects, one.boxes) == (3, 4, 2)
    assert (one.precision, one.recall) == (0.5, 0.25)


def test_the_order_of_regions_and_images_is_of_no_consequence() -> None:
    rng = np.random.default_rng(3)

    def box() -> BoxXYXY:
        x, y, w, h = rng.integers(10, 60, 4).tolist()
        return (x, y, x + w, y + h)

    words, scores = ("cat", "dog", "cow"), iter(rng.permutation(999) / 1000)
    records = [
        record(
            *(known(box(), str(rng.choice(words)), crowd=n == 0) for n in range(4)),
            *(found(box(), str(rng.choice(words)), score=float(next(scores))) for _ in range(9)),
            key=f"val-{number}",
        )
        for number in range(12)
    ]
    turned = [replace(one, regions=one.regions[::-1]) for one in records[::-1]]
    assert judge_annotators(turned) == pytest.approx(judge_annotators(records))


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([record(found(CAT, "cat"))], "1 images hold no box of their source"),
        ([record(known(FLOCK, "sheep", crowd=True), found(CAT))], "no box of their source"),
        ([record(*PAIR)], "there is no annotator to judge"),
        ([], "0 images"),
    ],
)
def test_nothing_to_judge(records: Sequence[Record], says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        judge_annotators(records)
    assert "\n" not in str(error.value)


def test_a_score_that_is_not_said_is_sure() -> None:
    one = judge(*PAIR, found(CAT, "cat", score=None), found(FAR, "cat", score=0.99))
    assert one.ap50 == pytest.approx(0.5)


def test_fastestdet_on_real_photographs(shared_data: Path) -> None:
    """The same AP50 by records as by arrays: see tests/annotators/test_onnx_detector.py."""
    folder, file = shared_data / "coco_tiny", shared_data / "fastestdet" / "FastestDet.onnx"
    if not file.is_file() or not folder.is_dir():
        pytest.skip(f"no FastestDet or coco_tiny in {shared_data}")
    told = json.loads((folder / "annotations" / "instances_val2017.json").read_text())
    kinds = {one["id"]: one["name"] for one in sorted(told["categories"], key=lambda x: x["id"])}
    config = OnnxConfig(model=str(file), layout="fastestdet", class_names=tuple(kinds.values()))
    finder, records = Onnx(config), []
    for image in told["images"]:
        regions = []
        for one in told["annotations"]:
            if one["image_id"] == image["id"]:
                x, y, w, h = one["bbox"]
                crowd = bool(one["iscrowd"])
                regions.append(known((x, y, x + w, y + h), kinds[one["category_id"]], crowd=crowd))
        with Image.open(folder / "val2017" / image["file_name"]) as picture:
            (said,) = finder.find([picture.convert("RGB")], [()])
        seen = Provenance(finder.name, finder.revision)
        regions += [Region(x.box_xyxy, replace(seen, score=x.score), names=(x.name,)) for x in said]
        records.append(record(*regions, key=str(image["id"])))
    (one,) = judge_annotators(records)
    assert one.annotator == "FastestDet"
    assert one.images == 50
    assert 0.25 <= one.ap50 <= 0.35
    assert one.ap < one.ap50 < one.box_ap50 < one.box_recall < 1
    assert 0.7 < one.mean_iou < 1
