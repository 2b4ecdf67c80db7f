"""Boxes that double earlier ones, among thousands at one place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import opendet.inspect.lint_overlap as overlap
from opendet.inspect.lint import lint_image
from opendet.inspect.lint_overlap import doubles_of
from opendet.inspect.lint_view import GroundedImage, NamedBox
from opendet.record import BoxXYXY

MANY = 5000
STACKS: dict[str, list[BoxXYXY]] = {
    "equal": [(5.0, 5.0, 90.0, 90.0)] * MANY,
    "a column": [(5.0, 4.0 * i, 90.0, 4.0 * i + 9.0) for i in range(MANY)],
    "a row": [(4.0 * i, 5.0, 4.0 * i + 9.0, 90.0) for i in range(MANY)],
    "nested": [(0.0, 0.0, 10 * 1.12 ** (i % 20), 10 * 1.12 ** (i // 20 % 20)) for i in range(MANY)],
    "a line": [(5.0, 5.0, 5.0, 90.0)] * MANY,
}


def every_pair(boxes_xyxy: list[BoxXYXY], above: float) -> list[tuple[int, int, float]]:
    """What `doubles_of` is to find, by looking at all."""
    kept: list[int] = []
    found = []
    for index, box_xyxy in enumerate(boxes_xyxy):
        ious = ((overlap.iou_of(boxes_xyxy[i], box_xyxy), i) for i in kept)
        iou, nearest = max(ious, default=(0.0, 0))
        if iou > above:
            found.append((index, nearest, iou))
        else:
            kept.append(index)
    return found


@given(
    st.lists(st.tuples(*[st.floats(-0.3, 0.3)] * 4), max_size=60),
    st.sampled_from((1.0, 7.3, 900.0)),
    st.sampled_from((0.5, 0.9)),
)
def test_a_neighbourhood_holds_all_doubles(
    shifts: list[tuple[float, float, float, float]], size: float, above: float
) -> None:
    boxes = [(size * a, size * b, size * (a + 1 + c), size * (b + 1 + d)) for a, b, c, d in shifts]
    assert list(doubles_of(boxes, above)) == every_pair(boxes, above)


@pytest.mark.parametrize("name", STACKS)
def test_stacked_boxes_are_compared_with_few(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    iou_of = overlap.iou_of

    def counted(first: BoxXYXY, second: BoxXYXY) -> float:
        nonlocal compared
        compared += 1
        return iou_of(first, second)

    monkeypatch.setattr(overlap, "iou_of", counted)
    boxes = tuple(NamedBox(f"box {i}", "dog", box) for i, box in enumerate(STACKS[name]))
    image = GroundedImage("a.jpg", None, None, None, boxes)
    kinds = [finding.kind for finding in lint_image(image)]
    assert compared <= 25 * MANY
    expected = {
        "equal": MANY - 1,
        "a column": 0,
        "a row": 0,
        "nested": MANY - 400,
        "a line": MANY - 1,
    }
    assert kinds.count("box.duplicate") == expected[name]


@pytest.mark.parametrize(
    "box",
    [(0.0, 0.0, 5e-324, 5e-324), (-1e308, -1e308, 1e308, 1e308), (1e300, 0.0, 1.1e300, 9.0)],
)
def test_boxes_beyond_all_images_double_their_equals(box: BoxXYXY) -> None:
    assert [found[:2] for found in doubles_of([box] * 20, 0.9)] == [(i, 0) for i in range(1, 20)]
