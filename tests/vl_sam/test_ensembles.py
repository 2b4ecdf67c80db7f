"""Views of an image, and things found in several of them."""

import numpy as np
import pytest
import torch

from opendet.annotators.detection import Found
from opendet.annotators.segment import mask_codes
from opendet.vl_sam.ensembles import is_narrow, joined, views

SIZE = (20, 10)


def found(name: str, score: float, columns: tuple[int, int]) -> Found:
    """All rows of some columns."""
    flags = np.zeros((10, 20), np.bool_)
    flags[:, slice(*columns)] = True
    [code] = mask_codes(torch.from_numpy(flags)[None])
    return Found((columns[0], 0, columns[1], 10), name, score, code)


def test_an_image_and_its_quarters() -> None:
    assert views((9, 6), corners=True) == [
        (0, 0, 9, 6), (0, 0, 4, 3), (4, 0, 9, 3), (0, 3, 4, 6), (4, 3, 9, 6),
    ]  # fmt: skip
    assert views((9, 6), corners=False) == [(0, 0, 9, 6)]
    assert views((9, 3), corners=True) == [(0, 0, 9, 3)]  # a quarter would be one pixel high


def test_only_strips_are_narrow() -> None:
    assert not any(is_narrow(view) for view in ((0, 0, 100, 1), (5, 5, 6, 6), (0, 7, 3, 307)))
    assert all(is_narrow(view) for view in ((0, 0, 101, 1), (3, 0, 5, 201)))


def test_a_mask_takes_in_what_overlaps_it_enough_whatever_its_name() -> None:
    things = joined(
        [
            found("car", 0.8, (0, 10)),
            found("vehicle", 0.9, (1, 10)),  # IoU .9 with the car's
            found("vehicle", 0.6, (0, 9)),
            found("wheel", 0.95, (0, 6)),  # .6 and .56
        ],
        SIZE,
        0.7,
    )
    assert [(one.surest.score, one.names) for one in things] == [
        (0.95, {"wheel": 0.95}),
        (0.9, {"vehicle": 0.9, "car": 0.8}),
    ]
    assert things[1].surest.box_xyxy == (1, 0, 10, 10)


def test_the_limit_itself_is_enough() -> None:
    pair = [found("a", 0.9, (0, 10)), found("b", 0.8, (0, 7))]
    assert len(joined(pair, SIZE, 0.7)) == 1
    assert len(joined(pair, SIZE, 0.71)) == 2


def test_order_does_not_matter_and_joined_things_stay() -> None:
    rng = np.random.default_rng(0)
    some = [
        found(str(rng.choice(["a", "b"])), round(float(rng.random()), 1), (start, start + 6))
        for start in rng.integers(0, 14, 30)
    ]
    once = joined(some, SIZE, 0.5)
    assert joined([some[n] for n in rng.permutation(30)], SIZE, 0.5) == once
    again = joined([one.surest for one in once], SIZE, 0.5)
    assert [one.surest for one in again] == [one.surest for one in once]
    scores = [one.surest.score for one in once]
    assert scores == sorted(scores, reverse=True)
    assert joined([], SIZE, 0.7) == []


def test_a_mask_is_kept_once() -> None:
    twice = [found("a", 0.9, (0, 10)), found("a", 0.9, (0, 10))]
    [one] = joined(twice, SIZE, 1.0)
    assert one.names == {"a": pytest.approx(0.9)}
