"""When a curve reaches a level, and its picture."""

import xml.etree.ElementTree as ElementTree

import pytest

from opendet.bench.curves import draw_lines, first_reaching, mean_line, value_at

RISING = [(100.0, 10.0), (200.0, 20.0), (400.0, 15.0), (800.0, 30.0)]


@pytest.mark.parametrize(
    ("level", "step"), [(5.0, 50.0), (10.0, 100.0), (15.0, 150.0), (25.0, 666.67), (30.0, 800.0)]
)
def test_the_first_step_that_reaches_a_level_lies_between_the_points(
    level: float, step: float
) -> None:
    assert first_reaching(RISING, level) == pytest.approx(step, abs=0.01)


def test_a_level_that_is_never_reached_has_no_step() -> None:
    assert first_reaching(RISING, 30.1) is None


def test_values_between_and_beyond_the_points() -> None:
    asked = (50, 100, 150, 300, 900)
    assert [value_at(RISING, x) for x in asked] == [10, 10, 15, 17.5, 30]


def test_the_mean_of_lines() -> None:
    assert mean_line([[(1, 2), (2, 4)], [(1, 4), (2, 0)]]) == [(1, 3), (2, 2)]


def test_a_picture_is_small_and_shows_every_line() -> None:
    svg = draw_lines({"a < b": RISING, "c": RISING}, title="t", x_name="steps", level=20)
    root = ElementTree.fromstring(svg)
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a < b", "c", "t", "steps"} <= set(texts)
    assert len(svg) < 10_000
