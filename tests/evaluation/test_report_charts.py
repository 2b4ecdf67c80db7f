"""Charts hold what they are given."""

import math

import pytest

from opendet.evaluation.report_charts import SMALL, histogram, line_chart, round_marks, short


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 4.9), (-0.3, 0.7), (5, 5), (0, 0), (1e-6, 3e-6), (0, 12345)]
)
def test_round_marks_cover_the_range(low: float, high: float) -> None:
    marks = round_marks(low, high, 4)
    assert 2 <= len(marks) <= 8
    assert marks[0] <= low + 1e-12
    assert marks[-1] >= high - 1e-12


def test_a_line_ends_at_the_edges() -> None:
    chart = line_chart("loss", [(10, 4.0), (20, 2.0), (30, 1.0)])
    assert chart is not None
    points = [tuple(map(float, pair.split(","))) for pair in chart.line.split()]
    assert points[0][0] == SMALL.left
    assert points[-1][0] == SMALL.right
    assert points[0][1] < points[1][1] < points[2][1]  # y points down
    assert chart.last == "1"


def test_what_is_not_finite_is_left_out() -> None:
    chart = line_chart("loss", [(0, 1.0), (1, math.nan), (2, math.inf), (3, 0.5)])
    assert chart is not None
    assert len(chart.line.split()) == 2
    assert "nan" not in chart.line
    assert line_chart("loss", [(0, math.nan), (1, 1.0)]) is None
    assert line_chart("loss", []) is None


def test_a_histogram_stacks_its_two_series() -> None:
    chart = histogram([0.1, 0.1, 0.9], [0.1], bins=2)
    assert chart is not None
    counts = [(bar.series, int(bar.title.rsplit(" ", 1)[1])) for bar in chart.bars]
    assert counts == [(0, 2), (1, 1), (0, 1)]
    below, above = chart.bars[:2]
    assert above.y + above.height == pytest.approx(below.y)
    assert histogram([], []) is None
    assert histogram([0.5, 0.5], []) is not None


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.12345, "0.123"), (250.4, "250"), (25000, "25k"), (-1.5, "-1.5")],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text
