"""Boxes that repeat one another, and boxes that are one thing with several names."""

import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from opendet.annotators.detection import Found
from opendet.annotators.suppression import Merged, suppress

SAME, CROSS = 0.5, 0.8


def merge(found: list[Found], same: float = SAME, cross: float = CROSS) -> list[Merged]:
    return suppress(found, same_name_iou=same, cross_name_iou=cross)


def wide(width: float, name: str, score: float, mask: str = "") -> Found:
    """Boxes that share a corner: their IoU is the quotient of their widths."""
    return Found((0.0, 0.0, width, 10.0), name, score, mask)


def iou(first: Merged, second: Merged) -> float:
    (a0, b0, a1, b1), (c0, d0, c1, d1) = first.box_xyxy, second.box_xyxy
    shared = max(min(a1, c1) - max(a0, c0), 0) * max(min(b1, d1) - max(b0, d0), 0)
    return shared / ((a1 - a0) * (b1 - b0) + (c1 - c0) * (d1 - d0) - shared)


def again(merged: list[Merged]) -> list[Found]:
    return [Found(m.box_xyxy, (*m.names, "")[0], m.score, m.mask) for m in merged]


# few places and few scores, so that ties and repeats are common
edges = st.integers(0, 6)
sides = st.integers(1, 5)
things = st.builds(
    lambda x, y, w, h, name, score, mask: Found(
        (float(x), float(y), float(x + w), float(y + h)), name, score, mask
    ),
    *(edges, edges, sides, sides),
    st.sampled_from(["", "cat", "dog", "sofa"]),
    st.sampled_from([0.1, 0.5, 0.9]),
    st.sampled_from(["", "mask"]),
)
scenes = st.lists(things, max_size=25)
limits = st.sampled_from([0.2, 0.5, 0.7, 0.9, 1.0])


def test_nothing_found_is_nothing_left() -> None:
    assert merge([]) == []


def test_a_repeat_of_a_name_goes_and_another_name_is_joined() -> None:
    merged = merge(
        [
            wide(60, "cat", 0.5),  # IoU 0.6 with the surest cat: a repeat
            wide(90, "feline", 0.7),  # IoU 0.9: the same thing
            wide(100, "cat", 0.9, "m"),
            wide(70, "dog", 0.8),  # IoU 0.7: another thing
            wide(40, "cat", 0.4),  # IoU 0.4: another cat
            wide(85, "animal", 0.6, "n"),  # IoU 0.85
        ]
    )
    assert merged == [
        Merged((0, 0, 100, 10), ("cat", "feline", "animal"), 0.9, "m"),
        Merged((0, 0, 70, 10), ("dog",), 0.8, ""),
        Merged((0, 0, 40, 10), ("cat",), 0.4, ""),
    ]


def test_a_limit_is_the_first_iou_that_is_too_much() -> None:
    assert len(merge([wide(100, "cat", 0.9), wide(50, "cat", 0.8)])) == 1
    assert len(merge([wide(100, "cat", 0.9), wide(49, "cat", 0.8)])) == 2
    assert len(merge([wide(100, "cat", 0.9), wide(80, "dog", 0.8)])) == 1
    assert len(merge([wide(100, "cat", 0.9), wide(79, "dog", 0.8)])) == 2
    assert len(merge([wide(100, "cat", 0.9), wide(99.9, "dog", 0.8)], 1, 1)) == 2
    assert len(merge([wide(100, "cat", 0.9), wide(100, "dog", 0.8)], 1, 1)) == 1


def test_a_box_that_repeats_a_repeat_of_another_name_goes_with_it() -> None:
    """A dog that is a cat's second name has taken in the second dog before."""
    [one] = merge([wide(100, "cat", 0.9), wide(90, "dog", 0.8), wide(60, "dog", 0.7)])
    assert one.names == ("cat", "dog")


def test_no_name_takes_any_name_and_gives_none() -> None:
    nameless = [wide(100, "", 0.9), wide(55, "", 0.8)]
    assert [m.names for m in merge(nameless)] == [()]
    assert [m.names for m in merge([*nameless, wide(90, "cat", 0.7)])] == [("cat",)]
    assert [m.names for m in merge([wide(100, "cat", 0.9), wide(90, "", 0.8)])] == [("cat",)]
    # named at last, it repeats a cat that it did not repeat before
    assert [m.names for m in merge([*nameless, wide(90, "cat", 0.7), wide(51, "cat", 0.6)])] == [
        ("cat",)
    ]


@given(scenes, limits, limits, st.randoms(use_true_random=False))
def test_the_order_that_boxes_come_in_changes_nothing(
    found: list[Found], same: float, cross: float, rng: object
) -> None:
    shuffled = list(found)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert merge(shuffled, same, cross) == merge(found, same, cross)


@given(scenes, limits, limits)
def test_what_is_left_does_not_repeat_itself(found: list[Found], same: float, cross: float) -> None:
    merged = merge(found, same, cross)
    assert [m.score for m in merged] == sorted((m.score for m in merged), reverse=True)
    for n, second in enumerate(merged):
        assert len(set(second.names)) == len(second.names)
        for first in merged[:n]:
            assert iou(first, second) < (same if first.names[:1] == second.names[:1] else cross)


@given(scenes, limits, limits)
def test_no_name_is_lost_and_no_box_is_made_up(
    found: list[Found], same: float, cross: float
) -> None:
    merged = merge(found, same, cross)
    assert {name for m in merged for name in m.names} == {f.name for f in found} - {""}
    for m in merged:
        mine = [f for f in found if (f.box_xyxy, f.score, f.mask) == (m.box_xyxy, m.score, m.mask)]
        assert {f.name for f in mine} & {"", *m.names}
    if found:
        assert merged[0].score == max(f.score for f in found)


@given(scenes, limits, limits)
def test_what_is_left_stays_when_it_is_looked_at_again(
    found: list[Found], same: float, cross: float
) -> None:
    once = merge(found, same, cross)
    twice = merge(again(once), same, cross)
    assert [(m.box_xyxy, m.names[:1], m.score) for m in twice] == [
        (m.box_xyxy, m.names[:1], m.score) for m in once
    ]


def test_three_thousand_boxes_take_moments() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 900, (3000, 2))
    boxes = np.concatenate((corners, corners + rng.uniform(5, 200, (3000, 2))), 1).tolist()
    found = [
        Found((x0, y0, x1, y1), f"name {n % 50}", float(rng.uniform()))
        for n, (x0, y0, x1, y1) in enumerate(boxes)
    ]
    merge(found[:10])  # what is imported at the first call is not measured
    start = time.perf_counter()
    merged = merge(found)
    assert 0 < len(merged) < 3000
    assert time.perf_counter() - start < 10
